-- Let several resources of a kind hand their names (user, call center, number) on among themselves.
--
-- KEYS 1 hash of the kind 2 version 3 changes 4... for each name of its own: the hash of whose it is
-- ARGV 1 most changes kept, then for each resource: "kind:id", id, JSON as it is, JSON with the new names,
--      and for each name: what it was and what it is to be ('': none)
-- Result exchanged; changed: one of them is not what it was; taken: a name is that of somebody else. Then
--      nothing was done.
-- Keeps  What resource_put.lua says, at any moment: all or none.

local names = #KEYS - 3
local width = 4 + 2 * names
local is_ours = {}
for at = 2, #ARGV, width do
  local id = ARGV[at + 1]
  is_ours[id] = true
  if call('HGET', KEYS[1], id) ~= ARGV[at + 2] then return 'changed' end
end
for i = 1, names do
  local wanted = {}
  for at = 2, #ARGV, width do
    local name = ARGV[at + 3 + 2 * i]
    local owner = name ~= '' and call('HGET', KEYS[3 + i], name)
    if (owner and not is_ours[owner]) or wanted[name] then return 'taken' end
    wanted[name] = name ~= ''
  end
end

for i = 1, names do
  for at = 2, #ARGV, width do
    local before = ARGV[at + 2 + 2 * i]
    if call('HGET', KEYS[3 + i], before) == ARGV[at + 1] then call('HDEL', KEYS[3 + i], before) end
  end
  for at = 2, #ARGV, width do
    local name = ARGV[at + 3 + 2 * i]
    if name ~= '' then call('HSET', KEYS[3 + i], name, ARGV[at + 1]) end
  end
end
local version = math.max((time_ms()), (tonumber(call('GET', KEYS[2])) or 0) + 1)
local text = string.format('%.0f', version)
for at = 2, #ARGV, width do
  call('HSET', KEYS[1], ARGV[at + 1], ARGV[at + 3])
  call('ZADD', KEYS[3], text, ARGV[at])
end
call('SET', KEYS[2], text)
call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[1]))
return 'exchanged'
