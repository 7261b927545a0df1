-- The record of an agent, its states, and the sets that follow from it.
--
-- An agent's record is the truth; the sorted sets are indexes that every change rewrites in the same
-- operation. ready:<requirement> holds agent -> ready at (ms): in the past means ready and idle since,
-- in the future means reserved, ringing, on a call, in wrap-up or paused until then. So whatever has
-- an end ends by itself.

local DAY_MS = 86400000
local HOUR_MS = 3600000

-- state event next; "rest" is where the flags say. What is not here is refused.
-- router/acd/agents.py has the same table and the reasons; a test compares the two. What every routed
-- call asks for is found first.
local TRANSITIONS = [[

available reserve reserved
off_duty go_off_duty rest
off_duty enable rest
off_duty clear_dnd rest
off_duty disable rest
off_duty go_on_duty rest
off_duty set_dnd rest
off_duty lose_phone rest
off_duty find_phone rest
off_duty see_ringing ringing
off_duty see_connected on_call
off_duty see_busy on_call
off_duty see_wrap_up wrap_up
off_duty see_free rest
do_not_disturb go_off_duty rest
do_not_disturb enable rest
do_not_disturb clear_dnd rest
do_not_disturb disable rest
do_not_disturb go_on_duty rest
do_not_disturb set_dnd rest
do_not_disturb lose_phone rest
do_not_disturb find_phone rest
do_not_disturb see_ringing ringing
do_not_disturb see_connected on_call
do_not_disturb see_busy on_call
do_not_disturb see_wrap_up wrap_up
do_not_disturb see_free rest
disabled go_off_duty rest
disabled enable rest
disabled clear_dnd rest
disabled disable rest
disabled go_on_duty rest
disabled set_dnd rest
disabled lose_phone rest
disabled find_phone rest
disabled see_ringing ringing
disabled see_connected on_call
disabled see_busy on_call
disabled see_wrap_up wrap_up
disabled see_free rest
unreachable go_off_duty rest
unreachable enable rest
unreachable clear_dnd rest
unreachable disable rest
unreachable go_on_duty rest
unreachable set_dnd rest
unreachable lose_phone rest
unreachable find_phone rest
unreachable see_ringing ringing
unreachable see_connected on_call
unreachable see_busy on_call
unreachable see_wrap_up wrap_up
unreachable see_free rest
available go_off_duty rest
available enable rest
available clear_dnd rest
available disable rest
available go_on_duty rest
available set_dnd rest
available lose_phone rest
available find_phone rest
available see_ringing ringing
available see_connected on_call
available see_busy on_call
available see_wrap_up wrap_up
available see_free rest
reserved go_off_duty reserved
reserved enable reserved
reserved clear_dnd reserved
reserved disable reserved
reserved go_on_duty reserved
reserved set_dnd reserved
reserved lose_phone reserved
reserved find_phone reserved
reserved ring ringing
reserved connect on_call
reserved release rest
reserved miss rest
reserved hang_up rest
reserved see_ringing ringing
reserved see_connected on_call
ringing go_off_duty ringing
ringing enable ringing
ringing clear_dnd ringing
ringing disable ringing
ringing go_on_duty ringing
ringing set_dnd ringing
ringing lose_phone ringing
ringing find_phone ringing
ringing ring ringing
ringing connect on_call
ringing release rest
ringing miss rest
ringing hang_up rest
ringing see_ringing ringing
ringing see_connected on_call
on_call go_off_duty on_call
on_call enable on_call
on_call clear_dnd on_call
on_call disable on_call
on_call go_on_duty on_call
on_call set_dnd on_call
on_call lose_phone on_call
on_call find_phone on_call
on_call connect on_call
on_call hang_up wrap_up
on_call see_connected on_call
on_call see_busy on_call
on_call see_wrap_up wrap_up
on_call see_free rest
wrap_up go_off_duty wrap_up
wrap_up enable wrap_up
wrap_up clear_dnd wrap_up
wrap_up disable wrap_up
wrap_up go_on_duty wrap_up
wrap_up set_dnd wrap_up
wrap_up lose_phone wrap_up
wrap_up find_phone wrap_up
wrap_up see_ringing ringing
wrap_up see_connected on_call
wrap_up see_busy on_call
wrap_up see_wrap_up wrap_up
wrap_up see_free rest
wrap_up end_wrap_up rest
]]

-- Where an event leads from a state; nil when it is refused.
local function next_state(state, event)
  local _, at = find(TRANSITIONS, '\n' .. state .. ' ' .. event .. ' ', 1, true)
  return at and match(TRANSITIONS, '^[a-z_]+', at + 1)
end

-- What the agent's places and the decision to reserve depend on, from the first ten values.
local function standing_of(key, v)
  if not v[1] then return nil end
  return {
    key = key, reqs = v[1], duty = v[2], dnd = v[3], dnd_queues = v[4], disabled = v[5],
    disabled_until = tonumber(v[6] or nil), idle_since = tonumber(v[7]), activity = v[8],
    until_ms = tonumber(v[9] or nil), phone_lost = v[10],
  }
end

-- Half of the record: each field costs Redis a search, and every routed call pays for it.
local function read_standing(key)
  return standing_of(key, call('HMGET', key, 'reqs', 'duty', 'dnd', 'dnd_queues', 'disabled',
    'disabled_until', 'idle_since', 'activity', 'until', 'phone_lost'))
end

local function read_agent(key)
  local v = call('HMGET', key, 'reqs', 'duty', 'dnd', 'dnd_queues', 'disabled', 'disabled_until',
    'idle_since', 'activity', 'until', 'phone_lost', 'since', 'token', 'request', 'call', 'queue',
    'caller', 'wrap_up_ms', 'seen_ms')
  local a = standing_of(key, v)
  if not a then return nil end
  a.since, a.token, a.request, a.call = tonumber(v[11] or nil), v[12], v[13], v[14]
  a.queue, a.caller, a.wrap_up_ms = v[15], v[16], tonumber(v[17] or nil)
  a.seen_ms = tonumber(v[18] or nil) or 0
  return a
end

local function resting_state(a, now)
  if not a.duty then return 'off_duty' end
  if a.disabled and (not a.disabled_until or now < a.disabled_until) then return 'disabled' end
  if a.dnd then return 'do_not_disturb' end
  return a.phone_lost and 'unreachable' or 'available'
end

local function state_of(a, now)
  if a.activity and now < a.until_ms then return a.activity end
  return resting_state(a, now)
end

-- From when on the agent can be offered a call; nil: not by itself.
local function ready_at(a)
  if not a.duty or a.dnd or a.phone_lost or (a.disabled and not a.disabled_until) then return nil end
  local at = a.idle_since
  if a.activity and a.until_ms > at then at = a.until_ms end
  if a.disabled and a.disabled_until > at then at = a.disabled_until end
  return at
end

-- Whether the agent does not want calls of the queue that this requirement (or queue id) belongs to.
local function is_disturbed(a, requirement)
  if not a.dnd_queues then return false end
  return find(a.dnd_queues, '\n' .. match(requirement, '^[^|]*') .. '\n', 1, true) ~= nil
end

-- Write where the agent stands in the ready sets of all requirements it meets. Indexes by rank find
-- who becomes ready from now on by themselves; who takes an old place again is named to them.
local function place(prefix, id, a, now)
  local at = ready_at(a)
  local lines = at and at <= now and { prefix .. 'relax_due' } -- where a call may wait for the agent
  for requirement in gmatch(a.reqs, '[^\n]+') do
    if lines then lines[#lines + 1] = prefix .. 'waiting:' .. requirement end
    if at and not is_disturbed(a, requirement) then
      call('ZADD', prefix .. 'ready:' .. requirement, at, id)
      if at < now then --@again
        for kind in gmatch('level order turn', '%a+') do
          if call('EXISTS', prefix .. 'ranked_until:' .. kind .. ':' .. requirement) == 1 then
            call('SADD', prefix .. 'ranked_again:' .. kind .. ':' .. requirement, id)
          end
        end
      end
    else
      call('ZREM', prefix .. 'ready:' .. requirement, id)
    end
  end
  -- Whoever keeps callers on hold looks for one at once; who gets free by time is found by the clock.
  if lines and call('EXISTS', unpack(lines)) > 0 then call('PUBLISH', prefix .. 'freed', id) end --@freed
end

-- The next turn in a queue's round: behind everybody.
local function last_turn(turns)
  local last = call('ZRANGE', turns, '-1', '-1', 'WITHSCORES')
  return (tonumber(last[2]) or 0) + 1
end

-- Give the agent an activity with an end; more: fields and values to write along.
local function engage(prefix, id, a, activity, now, until_ms, ...)
  call('HSET', a.key, 'activity', activity, 'since', now, 'until', until_ms, ...)
  a.activity, a.since, a.until_ms = activity, now, until_ms
  place(prefix, id, a, now)
end
