-- Write one resource (router, queue, agent) and count the change.
--
-- KEYS: hash of the kind, version, changes, hash of the tenant's queues
-- ARGV: "kind:id", id, JSON, mode, expected JSON, most changes kept, ids of queues that must exist...
--   mode "any": whatever is there. "absent": nothing may be there. "same": exactly the expected JSON.
-- Result: {outcome, detail}: created, updated, unchanged, conflict, or missing with the queue's id.
-- Keeps true: the version grows with every change and never repeats, even after the store was lost
-- (it is the store's time); changes holds every id with the version of its last change.

local old = redis.call("HGET", KEYS[1], ARGV[2])
if ARGV[4] == "absent" and old then return { "conflict", "" } end
if ARGV[4] == "same" and old ~= ARGV[5] then return { "conflict", "" } end
for i = 7, #ARGV do
  if redis.call("HEXISTS", KEYS[4], ARGV[i]) == 0 then return { "missing", ARGV[i] } end
end
if old == ARGV[3] then return { "unchanged", "" } end

local now = redis.call("TIME")
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local version = math.max(now_ms, (tonumber(redis.call("GET", KEYS[2])) or 0) + 1)
local text = string.format("%.0f", version)
redis.call("HSET", KEYS[1], ARGV[2], ARGV[3])
redis.call("SET", KEYS[2], text)
redis.call("ZADD", KEYS[3], text, ARGV[1])
redis.call("ZREMRANGEBYRANK", KEYS[3], 0, -1 - tonumber(ARGV[6]))
return { old and "updated" or "created", "" }
