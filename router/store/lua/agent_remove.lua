-- Remove an agent. A call that goes on is none of our business any more.
--
-- KEYS 1 agent 2 agent_ids
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id
-- Result 1 | 0: there was none | 'EXPIRED'
-- Keeps  The agent stands in no set.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, id = ARGV[2], ARGV[3]
local a = read_agent(KEYS[1])
if not a then return 0 end
leave_request(prefix, id, a)
for requirement in gmatch(a.reqs, '[^\n]+') do call('ZREM', prefix .. 'ready:' .. requirement, id) end
for queue in gmatch(call('HGET', KEYS[1], 'queues'), '%d+ %d+ ([^\n]+)\n') do
  call('SREM', prefix .. 'members:' .. queue, id)
  for _, kind in ipairs({ 'level:', 'order:', 'turn:' }) do call('ZREM', prefix .. kind .. queue, id) end
end
call('ZREM', KEYS[2], id)
call('DEL', KEYS[1])
return 1
