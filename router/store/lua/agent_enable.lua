-- Enable an agent again, or disable one.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 '1': enable, '0': disable until enabled
-- Result the agent's state | nil: no such agent | 'EXPIRED'
-- Keeps  Enabled, the agent starts with no unanswered offers and is idle from now on; a lost phone counts
--        as found until it is seen lost again (whoever saw it may be gone).
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a then return nil end
local on = ARGV[4] == '1'
if not next_state(state_of(a, now), on and 'enable' or 'disable') then return nil end
call('HDEL', a.key, 'disabled_until')
if on then
  if not (a.disabled or a.phone_lost) then return state_of(a, now) end
  call('HDEL', a.key, 'disabled', 'phone_lost')
  a.phone_lost = false
  call('HSET', a.key, 'unanswered', 0)
else
  call('HSET', a.key, 'disabled', 1)
end
call('HSET', a.key, 'idle_since', now)
a.disabled, a.disabled_until, a.idle_since = not on and '1' or false, nil, now
place_and_rank(ARGV[2], ARGV[3], a, now)
return state_of(a, now)
