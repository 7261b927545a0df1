-- Write one resource (router, queue, agent) and count the change.
--
-- KEYS: hash of the kind, version, changes, hash of the tenant's queues, hash of the platform's ids
-- ARGV: "kind:id", id, JSON, mode, expected JSON, most changes kept, name of the field that holds the
--   platform's id, that id or "", ids of queues that must exist...
--   mode "any": whatever is there. "absent": nothing may be there. "same": exactly the expected JSON.
-- Result: {outcome, detail}: created, updated, unchanged, conflict, missing with the queue's id, or
--   taken with the id of the resource that has this platform id.
-- Keeps true: a platform's id (user, call center) belongs to one resource of the kind;: the version grows with every change and never repeats, even after the store was lost
-- (it is the store's time); changes holds every id with the version of its last change.

local old = redis.call("HGET", KEYS[1], ARGV[2])
if ARGV[4] == "absent" and old then return { "conflict", "" } end
if ARGV[4] == "same" and old ~= ARGV[5] then return { "conflict", "" } end
if ARGV[8] ~= "" then
  local owner = redis.call("HGET", KEYS[5], ARGV[8])
  if owner and owner ~= ARGV[2] then return { "taken", owner } end
end
for i = 9, #ARGV do
  if redis.call("HEXISTS", KEYS[4], ARGV[i]) == 0 then return { "missing", ARGV[i] } end
end
if old == ARGV[3] then return { "unchanged", "" } end

local now = redis.call("TIME")
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local version = math.max(now_ms, (tonumber(redis.call("GET", KEYS[2])) or 0) + 1)
local text = string.format("%.0f", version)
local before = old and cjson.decode(old)[ARGV[7]]
if before and redis.call("HGET", KEYS[5], before) == ARGV[2] then
  redis.call("HDEL", KEYS[5], before)
end
if ARGV[8] ~= "" then redis.call("HSET", KEYS[5], ARGV[8], ARGV[2]) end
redis.call("HSET", KEYS[1], ARGV[2], ARGV[3])
redis.call("SET", KEYS[2], text)
redis.call("ZADD", KEYS[3], text, ARGV[1])
redis.call("ZREMRANGEBYRANK", KEYS[3], 0, -1 - tonumber(ARGV[6]))
return { old and "updated" or "created", "" }
