-- Remember answers given to calls, so that a repeat gets the same and rounds are counted.
--
-- KEYS: each call's memory (HASH)
-- ARGV: 1 lifetime ms, then for each key: fingerprint, answer (JSON), question's name or "", its
--       round, how many names were keyed in, then that many pairs: name, digits
-- Result: how many
-- Keeps true: running it twice changes nothing; a round never goes back; at most 64 fields a call.

local at = 2
for _, key in ipairs(KEYS) do
  local fingerprint, answer, asked, round = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local names = tonumber(ARGV[at + 4])
  local fields = { 'a:' .. fingerprint, answer }
  for i = at + 5, at + 4 + 2 * names, 2 do
    fields[#fields + 1] = 'd:' .. ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
  at = at + 5 + 2 * names
  if redis.call('HLEN', key) + #fields / 2 <= 63 or redis.call('HEXISTS', key, fields[1]) == 1 then
    redis.call('HSET', key, unpack(fields))
  end
  if asked ~= '' then
    local known = tonumber(redis.call('HGET', key, 'n:' .. asked) or 0)
    if tonumber(round) > known then redis.call('HSET', key, 'n:' .. asked, round) end
  end
  redis.call('PEXPIRE', key, ARGV[1])
end
return #KEYS
