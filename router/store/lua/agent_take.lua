-- Take one agent by name for a call: a lease that ends by itself.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 call 5 token 6 lease (ms)
--      7 '1': a call of the agent's own, which ends the wrap-up; '0': the wrap-up goes on afterwards
-- Result 'TAKEN' | 'BUSY': has a call, or is being offered one | 'UNKNOWN': no such agent | 'EXPIRED'
-- Keeps  No agent has two live reservations; one by name passes to a new token within its call. Also who
--        is off duty is taken: such calls are not the line's.
-- Shared: _agent

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a then return 'UNKNOWN' end
local doing, idle_since = state_of(a, now), a.idle_since
if doing == 'reserved' and a.request == a.token and a.call == ARGV[4] then
  if a.token == ARGV[5] then return 'TAKEN' end
elseif doing == 'reserved' or doing == 'ringing' or doing == 'on_call' then
  return 'BUSY' --@busy
elseif doing == 'wrap_up' then
  idle_since = ARGV[7] == '1' and now or a.until_ms
else
  idle_since = ready_at(a) or idle_since
end
call('HDEL', a.key, 'queue', 'caller')
-- A reservation by name is its own request: it stands for no call in a line.
engage(ARGV[2], ARGV[3], a, 'reserved', now, now + ARGV[6], 'idle_since', idle_since, 'token', ARGV[5],
  'request', ARGV[5], 'call', ARGV[4], 'wrap_up_ms', 0)
return 'TAKEN'
