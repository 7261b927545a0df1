-- An agent logs in at a phone: it is this agent's now, and nobody else's.
--
-- KEYS 1 phones
-- ARGV 1 deadline (ms on this clock) 2 agent id 3 endpoint
-- Result ids of the agents who were logged in there | 'EXPIRED'
-- Keeps  A phone has at most one agent, an agent at most one phone.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

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
