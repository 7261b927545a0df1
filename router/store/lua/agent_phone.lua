-- What a PBX sees of an agent's phone: it is lost, busy with a call that is not ours, or free.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 lost | busy | free 5 the PBX
--      6 longest call (ms)
-- Result the agent's state | nil: no such agent | 'EXPIRED'
-- Keeps  A reservation or a call of ours outlives every report. `free` and `lost` end only a call that
--        `busy` of the same PBX has begun. Idle from now on when the phone is found again.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, id, seen, seen_call = ARGV[2], ARGV[3], ARGV[4], 'phone@' .. ARGV[5]
local a = read_agent(KEYS[1])
if not a then return nil end

local is_lost = seen == 'lost'
if is_lost ~= (a.phone_lost ~= false) then
  if is_lost then call('HSET', a.key, 'phone_lost', 1) else call('HDEL', a.key, 'phone_lost') end
  call('HSET', a.key, 'idle_since', now)
  a.phone_lost, a.idle_since = is_lost and '1' or false, now
  place_and_rank(prefix, id, a, now)
end

local state = state_of(a, now)
if seen ~= 'busy' then
  if state == 'on_call' and a.call == seen_call then free(prefix, id, a, now, now) end --@ours
elseif state ~= 'on_call' and next_state(state, 'see_busy') then
  call('HDEL', a.key, 'token', 'request', 'queue', 'caller', 'wrap_up_ms')
  engage(prefix, id, a, 'on_call', now, now + ARGV[6], 'call', seen_call)
end
return state_of(a, now)
