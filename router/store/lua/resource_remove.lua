-- Remove one resource and count the change.
--
-- KEYS: hash of the kind, version, changes
-- ARGV: "kind:id", id, most changes kept
-- Result: 1 when it was there, 0 when not.
-- Keeps true: what resource_put.lua says of version and changes.

if redis.call("HDEL", KEYS[1], ARGV[2]) == 0 then return 0 end
local now = redis.call("TIME")
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local version = math.max(now_ms, (tonumber(redis.call("GET", KEYS[2])) or 0) + 1)
local text = string.format("%.0f", version)
redis.call("SET", KEYS[2], text)
redis.call("ZADD", KEYS[3], text, ARGV[1])
redis.call("ZREMRANGEBYRANK", KEYS[3], 0, -1 - tonumber(ARGV[3]))
return 1
