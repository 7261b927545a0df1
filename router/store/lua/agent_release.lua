-- Give a reserved agent back.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 '1': keep the place in the idle order, '0': idle from now on
-- Result 1 | 0: the token is not (or no longer) the agent's | 'EXPIRED'
-- Keeps  Only the holder of a live lease ends it.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.token ~= ARGV[4] or not next_state(state_of(a, now), 'release') then return 0 end
free(ARGV[2], ARGV[3], a, ARGV[5] == '1' and a.idle_since or now, now)
return 1
