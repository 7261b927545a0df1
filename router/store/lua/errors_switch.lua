-- Switch a router on or off by hand. Clears no error.
--
-- KEYS: 1 disabled routers (HASH)
-- ARGV: 1 router, 2 "1" on or "0" off
-- Result: ms since when it is switched off, or 0
-- Keeps true: switching off what is off already changes nothing.

if ARGV[2] == '1' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 0
end
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[1], ARGV[1], time[1] * 1000 + math.floor(time[2] / 1000))
return tonumber(redis.call('HGET', KEYS[1], ARGV[1]))
