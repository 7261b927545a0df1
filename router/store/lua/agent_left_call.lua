-- The agent's part of this call is over: wrap-up begins. For who knows the call, not the token.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 call 5 wrap-up (ms) 6 longest wrap-up (ms)
--      7 pause (ms; 0: disabled until enabled) of who left without a word, '' : none
-- Result 1 | 0: not on this call | 'EXPIRED'
-- Keeps  The same as agent_ended; another call of the agent's is never ended.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.call ~= ARGV[4] or next_state(state_of(a, now), 'hang_up') ~= 'wrap_up' then return 0 end
local pause_ms = tonumber(ARGV[7])
if pause_ms then pause(a, now, pause_ms) end
end_call(ARGV[2], ARGV[3], a, now, math.min(tonumber(ARGV[5]), tonumber(ARGV[6])))
if pause_ms then place_and_rank(ARGV[2], ARGV[3], a, now) end
return 1
