-- The reserved agent did not answer.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 limit 6 pause at the limit (ms; 0: disabled until enabled)
-- Result {unanswered offers in a row, state} | nil: not (or no longer) this token's | 'EXPIRED'
-- Keeps  The agent is not asked for the same call again before the others were. Idle from now on.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.token ~= ARGV[4] or not next_state(state_of(a, now), 'miss') then return nil end
local count = miss(ARGV[2], ARGV[3], a, now, tonumber(ARGV[5]), tonumber(ARGV[6]))
return { count, state_of(a, now) }
