-- Set or clear do-not-disturb, overall or for one queue.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 '1': set, '0': clear 5 queue id or '' for overall
-- Result the agent's state | nil: no such agent | 'EXPIRED'
-- Keeps  Disturbed for a queue, the agent stands in none of its sets; a call that goes on is not touched.
--        Idle from now on when the last do-not-disturb that covers all is cleared.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a then return nil end
local on, queue = ARGV[4] == '1', ARGV[5]
if not next_state(state_of(a, now), on and 'set_dnd' or 'clear_dnd') then return nil end
if queue == '' then
  call('HDEL', a.key, 'dnd_reported')
  if on == (a.dnd ~= false) then return state_of(a, now) end
  if on then call('HSET', a.key, 'dnd', 1) else call('HDEL', a.key, 'dnd') end
  call('HSET', a.key, 'idle_since', now)
  a.dnd, a.idle_since = on and '1' or false, now
else
  if on == is_disturbed(a, queue) then return state_of(a, now) end
  local queues = '\n'
  for other in gmatch(a.dnd_queues or '', '[^\n]+') do
    if other ~= queue then queues = queues .. other .. '\n' end
  end
  if on then queues = queues .. queue .. '\n' end
  a.dnd_queues = queues ~= '\n' and queues or false
  if a.dnd_queues then
    call('HSET', a.key, 'dnd_queues', queues)
  else
    call('HDEL', a.key, 'dnd_queues')
  end
end
place_and_rank(ARGV[2], ARGV[3], a, now)
return state_of(a, now)
