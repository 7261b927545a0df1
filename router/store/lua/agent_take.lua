-- Take one agent by name for a call that begins with that agent: a lease that ends by itself.
--
-- KEYS 1 agent 2 request:<call>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 call 5 token 6 lease (ms)
-- Result 'TAKEN' | 'RESTING': off duty, undisturbed or disabled, gets no calls anyway
--        | 'BUSY': has a call, or is being offered one | 'UNKNOWN': no such agent | 'EXPIRED'
-- Keeps  No agent has two live reservations. Who is in wrap-up ends it by calling.
-- Shared: _agent

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a then return 'UNKNOWN' end
if a.token == ARGV[5] and state_of(a, now) == 'reserved' then return 'TAKEN' end
local doing = state_of(a, now)
if doing == 'reserved' or doing == 'ringing' or doing == 'on_call' then return 'BUSY' end --@busy
if resting_state(a, now) ~= 'available' then return 'RESTING' end
local until_ms = now + ARGV[6]
call('HDEL', a.key, 'queue', 'caller')
engage(ARGV[2], ARGV[3], a, 'reserved', now, until_ms, 'idle_since', doing == 'wrap_up' and now or
  ready_at(a), 'token', ARGV[5], 'request', ARGV[4], 'call', ARGV[4], 'wrap_up_ms', 0)
call('SET', KEYS[2], ARGV[5] .. '\n' .. until_ms .. '\n' .. ARGV[3] .. '\n', 'PX', ARGV[6])
return 'TAKEN'
