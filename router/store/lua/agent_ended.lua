-- The agent's call is over: wrap-up begins.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 wrap-up (ms), '' : what the reservation said
--      6 longest wrap-up (ms)
-- Result 1 | 0: not on this token's call | 'EXPIRED'
-- Keeps  The queue's average handling time, and who talked with the caller.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.token ~= ARGV[4] or next_state(state_of(a, now), 'hang_up') ~= 'wrap_up' then return 0 end
local wrap_up_ms = tonumber(ARGV[5]) or a.wrap_up_ms or 0
end_call(ARGV[2], ARGV[3], a, now, math.min(wrap_up_ms, tonumber(ARGV[6])))
return 1
