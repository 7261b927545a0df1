-- Write one resource (router, queue, agent) and count the change.
--
-- KEYS 1 hash of the kind 2 version 3 changes 4 hash of the tenant's queues
--      5... for each name of its own (the platform's id, an agent's number): the hash of whose it is
--      then, of an agent, its live part
-- ARGV 1 "kind:id" 2 id 3 JSON 4 mode 5 expected JSON 6 most changes kept 7 how many names of its own
--      8 and 9 queues and skills as the live part has to have them
--      10... for each name: its field, the name or '', what is its name without that field or ''
--      then ids of queues that must exist
--      mode "any": whatever is there. "absent": nothing may be there. "same": exactly the expected JSON.
-- Result {outcome, detail...}: created, updated, unchanged, conflict, missing with the queue's id, or taken
--      with the id of the resource that has this name and the field; overtaken: somebody else has put
--      the live part meanwhile.
-- Keeps  An agent is described as its live part is, whoever else writes at the same time. A name (user, call center, number) belongs to one resource of the kind. The version grows with
--      every change and never repeats, even after the store was lost (it is the store's time); changes
--      holds every id with the version of its last change.

local call = redis.call
local id, names = ARGV[2], tonumber(ARGV[7])
local old = call('HGET', KEYS[1], id)
if ARGV[4] == 'absent' and old then return { 'conflict' } end
if ARGV[4] == 'same' and old ~= ARGV[5] then return { 'conflict' } end
for i = 0, names - 1 do
  local field, name = ARGV[10 + 3 * i], ARGV[11 + 3 * i]
  local owner = name ~= '' and call('HGET', KEYS[5 + i], name)
  if owner and owner ~= id then return { 'taken', owner, field } end --@one-owner
end
for i = 10 + 3 * names, #ARGV do
  if call('HEXISTS', KEYS[4], ARGV[i]) == 0 then return { 'missing', ARGV[i] } end
end
if KEYS[5 + names] then
  local live = call('HMGET', KEYS[5 + names], 'queues', 'skills')
  if live[1] ~= ARGV[8] or live[2] ~= ARGV[9] then return { 'overtaken' } end --@overtaken
end

local was = old and cjson.decode(old)
for i = 0, names - 1 do
  local field, name, unnamed = ARGV[10 + 3 * i], ARGV[11 + 3 * i], ARGV[12 + 3 * i]
  local before = was and (was[field] or unnamed) or ''
  if before ~= name and call('HGET', KEYS[5 + i], before) == id then call('HDEL', KEYS[5 + i], before) end
  if name ~= '' then call('HSET', KEYS[5 + i], name, id) end
end
if old == ARGV[3] then return { 'unchanged' } end

local now = call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local version = math.max(now_ms, (tonumber(call('GET', KEYS[2])) or 0) + 1)
local text = string.format('%.0f', version)
call('HSET', KEYS[1], id, ARGV[3])
call('SET', KEYS[2], text)
call('ZADD', KEYS[3], text, ARGV[1])
call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[6]))
return { old and 'updated' or 'created' }
