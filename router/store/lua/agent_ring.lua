-- The reserved agent's phone rings: the lease is prolonged.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 how long it may ring (ms)
-- Result 1 | 0: the token is not (or no longer) the agent's | 'EXPIRED'
-- Keeps  Only the holder of a live lease prolongs it.
-- Shared: _agent

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a or a.token ~= ARGV[4] then return 0 end
if not next_state(state_of(a, now), 'ring') then return 0 end
local until_ms = now + tonumber(ARGV[5])
engage(ARGV[2], ARGV[3], a, 'ringing', now, until_ms)
local key = ARGV[2] .. 'request:' .. a.request
call('PEXPIREAT', key, until_ms, 'GT')
return 1
