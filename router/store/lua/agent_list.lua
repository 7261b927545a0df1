-- Agents as they stand in their records, for people to look at.
--
-- KEYS 1 agent_ids
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 offset 4 limit (at most 500) 5... or these ids
-- Result {now, total, {id, {field, value, ...}}...} | 'EXPIRED'
-- Keeps  Reads only; bounded by the limit.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local ids = {}
if #ARGV > 4 then
  for i = 5, math.min(#ARGV, 504) do ids[#ids + 1] = ARGV[i] end
else
  local last = ARGV[3] + math.min(tonumber(ARGV[4]), 500) - 1
  ids = call('ZRANGE', KEYS[1], ARGV[3], last)
end
local found = { now, call('ZCARD', KEYS[1]) }
for _, id in ipairs(ids) do
  found[#found + 1] = { id, call('HGETALL', ARGV[2] .. 'agent:' .. id) }
end
return found
