-- A phone system reports a call of an agent: it rings, is connected, over, or was missed.
--
-- KEYS 1 agent 2 call_over:<call>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 ringing | connected | hangup | missed
--      5 event time (ms, the reporter's clock; '' : now) 6 caller or '' 7 queue id or '' 8 wrap-up (ms)
--      9 how long it may ring (ms) 10 longest call (ms) 11 longest wrap-up (ms) 12 limit of unanswered
--      offers 13 pause at the limit (ms) 14... ids of the call: this leg's own first, then linked ones
-- Result {1 applied | 0 ignored, state} | nil: no such agent | 'EXPIRED'
-- Keeps  An event older than the last applied one, or of a call that is over, changes nothing; a second
--        copy changes nothing. A hang-up ends only the call it names, however late it comes.
--        An event dated in the future makes no later one late.
--        A connected call confirms the agent's reservation for it without the token.
-- Shared: _agent _ends _reported

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, id, kind, told = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]) or now
local a = read_agent(KEYS[1])
if not a then return nil end
local at
at, a.seen_ms = reported_ms(told, a.seen_ms, now)
local state = state_of(a, now)
local is_same = false
for i = 14, #ARGV do is_same = is_same or ARGV[i] == a.call end

if kind == 'hangup' or kind == 'missed' then
  call('SET', KEYS[2], at, 'PX', CALL_OVER_MS)
  local next = is_same and next_state(state, 'hang_up') --@same-call
  if not next then return { 0, state } end
  if next == 'wrap_up' then
    end_call(prefix, id, a, now, math.min(a.wrap_up_ms or tonumber(ARGV[8]), tonumber(ARGV[11])))
  elseif kind == 'missed' then
    miss(prefix, id, a, now, tonumber(ARGV[12]), tonumber(ARGV[13]))
  else
    free(prefix, id, a, a.idle_since, now)
  end
else
  local over_ms = tonumber(call('GET', KEYS[2]) or nil) or 0
  if at <= a.seen_ms or at <= over_ms then return { 0, state } end --@late-check
  if at ~= told and over_ms > 0 then return { 0, state } end --@no-date
  local next = next_state(state, kind == 'ringing' and 'see_ringing' or 'see_connected')
  if not next then return { 0, state } end
  if kind == 'ringing' and not is_same and state == 'reserved' then
    return { 0, state } -- some other call rings there; ours is on its way
  end
  if not is_same or state == resting_state(a, now) then
    -- Not what we reserved, or too late for it: that lease is void.
    local rested = ready_at(a)
    if rested and rested <= now then a.idle_since = rested end -- an activity that has lapsed
    leave_request(prefix, id, a)
    call('HDEL', a.key, 'token', 'request', 'wrap_up_ms')
    if tonumber(ARGV[8]) > 0 then call('HSET', a.key, 'wrap_up_ms', ARGV[8]) end
    call('HSET', a.key, 'call', ARGV[14], 'caller', ARGV[6], 'queue', ARGV[7],
      'idle_since', a.idle_since)
    a.token, a.request, a.call, a.caller = false, false, ARGV[14], ARGV[6]
    if ARGV[7] == '' then call('HDEL', a.key, 'queue') end
  end
  if kind == 'connected' then
    if state ~= 'on_call' or not is_same then connect(prefix, id, a, now, tonumber(ARGV[10])) end
  else
    local ring_end = now + tonumber(ARGV[9])
    engage(prefix, id, a, 'ringing', now, ring_end)
    if a.request then call('PEXPIREAT', prefix .. 'request:' .. a.request, ring_end, 'GT') end
  end
end
if at > a.seen_ms then call('HSET', a.key, 'seen_ms', at) end
return { 1, state_of(a, now) }
