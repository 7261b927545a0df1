-- The agent ends the wrap-up early.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id
-- Result 1 | 0: not in wrap-up | 'EXPIRED'
-- Keeps  Idle from now on.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or not next_state(state_of(a, now), 'end_wrap_up') then return 0 end
free(ARGV[2], ARGV[3], a, now, now)
return 1
