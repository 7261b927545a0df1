-- Forget the errors of a router. Does not enable it.
--
-- KEYS: 1 the router's errors (LIST), 2 resets (HASH)
-- ARGV: 1 router
-- Result: ms of the reset
-- Keeps true: errors from before that a process reports later do not count either.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], now)
return now
