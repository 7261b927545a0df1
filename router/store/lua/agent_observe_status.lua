-- A phone system reports an agent's duty status.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id
--      4 available | unavailable | occupied | busy | wrapup 5 event time (ms, the reporter's clock;
--      '' : now)
--      6 do-not-disturb: '1', '0', '' not known 7 reason or '' 8 longest call (ms) 9 longest wrap-up (ms)
-- Result {1 applied | 0 ignored, state} | nil: no such agent | 'EXPIRED'
-- Keeps  An older or repeated event changes nothing. A reservation of ours outlives every report;
--        `available` ends a call whose hang-up never came, unless a newer call event says otherwise.
--        A report clears only a do-not-disturb that a report has set, not one that was set here.
--        Duty that was set here is changed only by a report of what happened since.
-- Shared: _agent _ends _reported

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, id, status, told = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]) or now
local a = read_agent(KEYS[1])
if not a then return nil end
local kept = call('HMGET', a.key, 'status_ms', 'duty_set_ms')
local at, last = reported_ms(told, tonumber(kept[1] or nil) or 0, now)
local before = state_of(a, now)
if at <= last then return { 0, before } end
call('HSET', a.key, 'status_ms', at)

local is_of_now = is_later(told, tonumber(kept[2] or nil) or 0, now)
local on = status ~= 'unavailable'
local is_overruled = not is_of_now and on ~= (a.duty ~= false)
if is_overruled then on = not on end
local dnd = a.dnd
if ARGV[6] == '1' and not dnd then
  call('HSET', a.key, 'dnd_reported', 1)
  dnd = '1'
elseif ARGV[6] == '0' and dnd and call('HDEL', a.key, 'dnd_reported') == 1 then
  dnd = false
end
if is_of_now then
  if not on and ARGV[7] ~= '' then
    call('HSET', a.key, 'reason', ARGV[7])
  else
    call('HDEL', a.key, 'reason')
  end
end
if on ~= (a.duty ~= false) or dnd ~= a.dnd then
  if on ~= (a.duty ~= false) then call('HSET', a.key, 'duty_since', now) end
  if on then call('HSET', a.key, 'duty', 1) else call('HDEL', a.key, 'duty') end
  if dnd then call('HSET', a.key, 'dnd', 1) else call('HDEL', a.key, 'dnd') end
  call('HSET', a.key, 'idle_since', now)
  a.duty, a.dnd, a.idle_since = on and '1' or false, dnd, now
  place_and_rank(prefix, id, a, now)
end

local event = 'see_busy'
if status == 'wrapup' then event = 'see_wrap_up' end
if status == 'available' or status == 'unavailable' then event = 'see_free' end
local state = state_of(a, now)
local next = next_state(state, event)
local is_news = is_later(told, a.seen_ms, now) and next and next ~= state
if is_news and next == 'rest' then
  if a.activity and now < a.until_ms and status == 'available' then free(prefix, id, a, now, now) end
elseif is_news and next == 'wrap_up' then
  if state == 'on_call' then
    end_call(prefix, id, a, now, tonumber(ARGV[9]))
  else
    engage(prefix, id, a, 'wrap_up', now, now + tonumber(ARGV[9]))
  end
elseif is_news then
  call('HDEL', a.key, 'token', 'request', 'call', 'queue', 'caller', 'wrap_up_ms')
  engage(prefix, id, a, 'on_call', now, now + tonumber(ARGV[8]))
end
local after = state_of(a, now)
return { is_overruled and after == before and 0 or 1, after }
