-- Remove one resource and count the change.
--
-- KEYS: hash of the kind, version, changes, hash of the platform's ids
-- ARGV: "kind:id", id, most changes kept, name of the field that holds the platform's id
-- Result: 1 when it was there, 0 when not.
-- Keeps true: what resource_put.lua says.

local old = redis.call("HGET", KEYS[1], ARGV[2])
if not old then return 0 end
redis.call("HDEL", KEYS[1], ARGV[2])
local before = cjson.decode(old)[ARGV[4]]
if before and redis.call("HGET", KEYS[4], before) == ARGV[2] then
  redis.call("HDEL", KEYS[4], before)
end
local now = redis.call("TIME")
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local version = math.max(now_ms, (tonumber(redis.call("GET", KEYS[2])) or 0) + 1)
local text = string.format("%.0f", version)
redis.call("SET", KEYS[2], text)
redis.call("ZADD", KEYS[3], text, ARGV[1])
redis.call("ZREMRANGEBYRANK", KEYS[3], 0, -1 - tonumber(ARGV[3]))
return 1
