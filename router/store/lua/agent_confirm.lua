-- The agent has answered: the lease becomes a call. The first of a group wins.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 longest call (ms)
--      6 the call that the agent is on from now on, '' : what the agent was reserved for
-- Result 1 (also when it was confirmed before) | 0: too late, or not this token | 'EXPIRED'
-- Keeps  Of a group reserved together exactly one gets the call; in the same operation the others are
--        free again with their old places. A late holder of a token is refused.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.token ~= ARGV[4] then return 0 end --@token-check
local state = state_of(a, now)
if state == 'on_call' then return 1 end
if not next_state(state, 'connect') then return 0 end --@lease-check
connect(ARGV[2], ARGV[3], a, now, tonumber(ARGV[5]))
if ARGV[6] ~= '' then call('HSET', KEYS[1], 'call', ARGV[6]) end --@call
return 1
