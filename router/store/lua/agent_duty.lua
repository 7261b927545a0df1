-- Go on or off duty.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 '1': on duty, '0': off 5 reason or ''
-- Result the agent's state | nil: no such agent | 'EXPIRED'
-- Keeps  Who is on duty already keeps the idle time; who comes on duty starts anew: unanswered offers
--        forgotten, idle from now on. A call that goes on is not touched. No report of what was before
--        changes what is set here.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local a = read_agent(KEYS[1])
if not a then return nil end
local on = ARGV[4] == '1'
if not next_state(state_of(a, now), on and 'go_on_duty' or 'go_off_duty') then return nil end
call('HSET', a.key, 'duty_set_ms', now)
if ARGV[5] == '' then call('HDEL', a.key, 'reason') else call('HSET', a.key, 'reason', ARGV[5]) end
if on ~= (a.duty ~= false) then
  if on then
    call('HSET', a.key, 'duty', 1, 'unanswered', 0)
    call('HDEL', a.key, 'disabled', 'disabled_until')
    a.duty, a.disabled, a.disabled_until = '1', false, nil
  else
    call('HDEL', a.key, 'duty')
    a.duty = false
  end
  call('HSET', a.key, 'idle_since', now, 'duty_since', now)
  a.idle_since = now
  place_and_rank(ARGV[2], ARGV[3], a, now)
end
return state_of(a, now)
