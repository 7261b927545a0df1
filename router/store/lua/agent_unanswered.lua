-- The reserved agent did not answer.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 limit 6 pause at the limit (ms; 0: disabled until enabled)
-- Result {unanswered offers in a row, state} | nil: not (or no longer) this token's | 'EXPIRED'
-- Keeps  The agent is not asked for the same call again before the others were. Idle from now on. Who was
--        rung by name (agent_take) was offered nothing: not counted, and idle since before.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.token ~= ARGV[4] or not next_state(state_of(a, now), 'miss') then return nil end
if a.request == a.token then
  free(ARGV[2], ARGV[3], a, a.idle_since, now) --@by-name
  return { tonumber(call('HGET', a.key, 'unanswered') or nil) or 0, state_of(a, now) }
end
local count = miss(ARGV[2], ARGV[3], a, now, tonumber(ARGV[5]), tonumber(ARGV[6]))
return { count, state_of(a, now) }
