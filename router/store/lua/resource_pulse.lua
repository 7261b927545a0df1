-- Tell the version of a tenant's resources, what changed since another one, and the disabled routers.
--
-- KEYS: version, changes, disabled routers
-- ARGV: the version the asker has, most changes kept, most changes told
-- Result: {version, is complete, changed "kind:id"s, disabled router ids}. Not complete: too much has
-- changed, or too long ago; the asker reads everything.
-- Keeps true: reads only; bounded by ARGV[3] and the number of routers.

local version = redis.call("GET", KEYS[1]) or "0"
local disabled = redis.call("HKEYS", KEYS[3])
if version == ARGV[1] then return { version, 1, {}, disabled } end

local most = tonumber(ARGV[3])
local changed = redis.call("ZRANGEBYSCORE", KEYS[2], "(" .. ARGV[1], "+inf", "LIMIT", 0, most + 1)
local is_complete = #changed <= most
if redis.call("ZCARD", KEYS[2]) >= tonumber(ARGV[2]) then
  local oldest = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")
  if tonumber(oldest[2]) > tonumber(ARGV[1]) then is_complete = false end
end
if tonumber(version) < tonumber(ARGV[1]) then is_complete = false end
return { version, is_complete and 1 or 0, is_complete and changed or {}, disabled }
