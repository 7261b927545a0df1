-- Remove one resource with everything that is kept under its id, and count the change.
--
-- KEYS 1 hash of the kind 2 version 3 changes 4... for each name of its own: the hash of whose it is
--      then hashes with a field of its id, then keys of its own, then, of an agent, its live part
-- ARGV 1 "kind:id" 2 id 3 most changes kept 4 how many hashes with a field of its id
--      5 how many keys of its own
--      6... for each name of its own: its field, what is its name without that field or ''
-- Result 1 when it was there, 0 when not; what is kept under its id goes in either case. 2: somebody has
--      put the live part anew, nothing was done.
-- Keeps  What resource_put.lua says. Whoever is given the id later inherits nothing (no phone, no PIN, no
--      errors).

local call = redis.call
local id = ARGV[2]
local hashes_from = 4 + (#ARGV - 5) / 2
local own_from = hashes_from + ARGV[4]
local live = KEYS[own_from + ARGV[5]]
if live and call('EXISTS', live) == 1 then return 2 end --@overtaken
for i = hashes_from, own_from - 1 do call('HDEL', KEYS[i], id) end
for i = own_from, own_from + ARGV[5] - 1 do call('DEL', KEYS[i]) end
local old = call('HGET', KEYS[1], id)
if not old then return 0 end
call('HDEL', KEYS[1], id)
local was = cjson.decode(old)
for i = 6, #ARGV, 2 do
  local index, before = KEYS[4 + (i - 6) / 2], was[ARGV[i]] or ARGV[i + 1]
  if call('HGET', index, before) == id then call('HDEL', index, before) end
end
local now = call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local version = math.max(now_ms, (tonumber(call('GET', KEYS[2])) or 0) + 1)
local text = string.format('%.0f', version)
call('SET', KEYS[2], text)
call('ZADD', KEYS[3], text, ARGV[1])
call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[3]))
return 1
