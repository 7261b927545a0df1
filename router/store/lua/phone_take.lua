-- An agent logs in at a phone: it is this agent's now, and nobody else's.
--
-- KEYS 1 phones 2 agent
-- ARGV 1 deadline (ms on this clock) 2 agent id 3 endpoint
-- Result ids of the agents who were logged in there | nil: no such agent | 'EXPIRED'
-- Keeps  A phone has at most one agent, an agent at most one phone; who was removed has none.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

if call('EXISTS', KEYS[2]) == 0 then return nil end
local before = {}
local known = call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  if known[i + 1] == ARGV[3] and known[i] ~= ARGV[2] then
    before[#before + 1] = known[i]
  end
end
for _, agent in ipairs(before) do call('HDEL', KEYS[1], agent) end
call('HSET', KEYS[1], ARGV[2], ARGV[3])
return before
