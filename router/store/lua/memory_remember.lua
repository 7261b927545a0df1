-- Remember one answer given to a call, so that a repeat gets it again and rounds are counted.
--
-- KEYS: 1 the call's memory (HASH)
-- ARGV: 1 lifetime ms, 2 fingerprint, 3 answer (JSON), 4 question's name or "", 5 its round,
--       then pairs: name, digits
-- Result: 1
-- Keeps true: running it twice changes nothing; a round never goes back; at most 64 fields.

local key = KEYS[1]
local digits = {}
for i = 6, #ARGV, 2 do
  digits[#digits + 1] = 'd:' .. ARGV[i]
  digits[#digits + 1] = ARGV[i + 1]
end
local free = 64 - redis.call('HLEN', key)
if free > #digits / 2 + 1 or redis.call('HEXISTS', key, 'a:' .. ARGV[2]) == 1 then
  redis.call('HSET', key, 'a:' .. ARGV[2], ARGV[3], unpack(digits))
end
if ARGV[4] ~= '' then
  local field = 'n:' .. ARGV[4]
  local known = tonumber(redis.call('HGET', key, field) or 0)
  if tonumber(ARGV[5]) > known then
    redis.call('HSET', key, field, ARGV[5])
  end
end
redis.call('PEXPIRE', key, ARGV[1])
return 1
