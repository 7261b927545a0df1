-- Keep a version of the rules for a while longer, and forget those that were in force longest ago.
--
-- KEYS 1 rules_versions 2 rules_version:<digest>
-- ARGV 1 digest 2 prefix 3 kept for (ms) 4 most versions 5 most bytes of all
--      6 the version, packed; '' to ask first whether it is there
-- Result 1 it is kept, 0 it has to be brought
-- Keeps  Never more versions, nor (but for a single one) more bytes than that.

local now = time_ms()
if ARGV[6] ~= '' then
  call('SET', KEYS[2], ARGV[6], 'PX', ARGV[3])
elseif call('PEXPIRE', KEYS[2], ARGV[3]) == 0 then
  return 0
end
call('ZADD', KEYS[1], now, ARGV[1])
call('PEXPIRE', KEYS[1], ARGV[3])

local most, most_bytes, bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), 0
for nth, digest in ipairs(call('ZREVRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[2] .. 'rules_version:' .. digest
  local size = call('STRLEN', key)
  bytes = bytes + size
  if size == 0 or nth > most or (nth > 1 and bytes > most_bytes) then
    call('UNLINK', key)
    call('ZREM', KEYS[1], digest)
  end
end
return 1
