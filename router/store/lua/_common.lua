-- What several operations share. Prepended to every script by plain concatenation.
--
-- An agent's record is the truth; the sorted sets are indexes that every change rewrites in the same
-- operation. ready:<requirement> holds agent -> ready at (ms): in the past means ready and idle since,
-- in the future means reserved, ringing, on a call, in wrap-up or paused until then. So whatever has
-- an end ends by itself.
--
-- Keys that a script finds out only on the way (the record of the agent it picks) are made from the
-- tenant's prefix, which carries the hash tag: they live in the same slot as the declared ones.

local call = redis.call
local find, match, gmatch = string.find, string.match, string.gmatch

local DAY_MS = 86400000
local HOUR_MS = 3600000
local TALKED_MS = 30 * DAY_MS
local CALL_OVER_MS = HOUR_MS
local MAX_TRIED = 100

-- state event next; "rest" is where the flags say. What is not here is refused.
-- router/acd/agents.py has the same table and the reasons; a test compares the two.
local TRANSITIONS = [[

off_duty go_off_duty rest
off_duty enable rest
off_duty clear_dnd rest
off_duty disable rest
off_duty go_on_duty rest
off_duty set_dnd rest
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
disabled see_ringing ringing
disabled see_connected on_call
disabled see_busy on_call
disabled see_wrap_up wrap_up
disabled see_free rest
available go_off_duty rest
available enable rest
available clear_dnd rest
available disable rest
available go_on_duty rest
available set_dnd rest
available see_ringing ringing
available see_connected on_call
available see_busy on_call
available see_wrap_up wrap_up
available see_free rest
available reserve reserved
reserved go_off_duty reserved
reserved enable reserved
reserved clear_dnd reserved
reserved disable reserved
reserved go_on_duty reserved
reserved set_dnd reserved
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
wrap_up see_ringing ringing
wrap_up see_connected on_call
wrap_up see_busy on_call
wrap_up see_wrap_up wrap_up
wrap_up see_free rest
wrap_up end_wrap_up rest
]]

local function time_ms()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Where an event leads from a state; nil when it is refused.
local function next_state(state, event)
  local _, at = find(TRANSITIONS, '\n' .. state .. ' ' .. event .. ' ', 1, true)
  return at and match(TRANSITIONS, '^[a-z_]+', at + 1)
end

local function read_agent(key)
  local v = call('HMGET', key, 'reqs', 'duty', 'dnd', 'dnd_queues', 'disabled', 'disabled_until',
    'idle_since', 'activity', 'until', 'since', 'token', 'request', 'call', 'queue', 'caller',
    'wrap_up_ms', 'seen_ms')
  if not v[1] then return nil end
  return {
    key = key, reqs = v[1], duty = v[2], dnd = v[3], dnd_queues = v[4], disabled = v[5],
    disabled_until = tonumber(v[6] or nil), idle_since = tonumber(v[7]), activity = v[8],
    until_ms = tonumber(v[9] or nil), since = tonumber(v[10] or nil), token = v[11], request = v[12],
    call = v[13], queue = v[14], caller = v[15], wrap_up_ms = tonumber(v[16] or nil),
    seen_ms = tonumber(v[17] or nil) or 0,
  }
end

local function resting_state(a, now)
  if not a.duty then return 'off_duty' end
  if a.disabled and (not a.disabled_until or now < a.disabled_until) then return 'disabled' end
  if a.dnd then return 'do_not_disturb' end
  return 'available'
end

local function state_of(a, now)
  if a.activity and now < a.until_ms then return a.activity end
  return resting_state(a, now)
end

-- From when on the agent can be offered a call; nil: not by itself.
local function ready_at(a)
  if not a.duty or a.dnd or (a.disabled and not a.disabled_until) then return nil end
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
  for requirement in gmatch(a.reqs, '[^\n]+') do
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
end

-- The next turn in a queue's round: behind everybody.
local function last_turn(turns)
  local last = call('ZRANGE', turns, -1, -1, 'WITHSCORES')
  return (tonumber(last[2]) or 0) + 1
end

-- As place, and enter or leave the rank sets too: needed when flags or the configuration change.
local function place_and_rank(prefix, id, a, now)
  place(prefix, id, a, now)
  local at = ready_at(a)
  for level, order, queue in gmatch(call('HGET', a.key, 'queues'), '(%d+) (%d+) ([^\n]+)\n') do
    local levels, orders = prefix .. 'level:' .. queue, prefix .. 'order:' .. queue
    local turns = prefix .. 'turn:' .. queue
    if at and not is_disturbed(a, queue) then
      call('ZADD', levels, 100 - level, id)
      call('ZADD', orders, order, id)
      call('ZADD', turns, 'NX', last_turn(turns), id)
    else
      call('ZREM', levels, id)
      call('ZREM', orders, id)
      call('ZREM', turns, id)
    end
  end
end

-- Take an agent out of what was reserved for a request; the last one takes the request along.
local function leave_request(prefix, id, a)
  if not a.request then return end
  local key = prefix .. 'request:' .. a.request
  local text = call('GET', key)
  if not text or match(text, '^[^\n]*') ~= a.token then return end
  local from, to = find(text, '\n' .. id .. '\n', 1, true)
  if not from then return end
  local left = string.sub(text, 1, from) .. string.sub(text, to + 1)
  if find(left, '^[^\n]*\n[^\n]*\n$') then
    call('DEL', key)
  else
    call('SET', key, left, 'KEEPTTL')
  end
end

-- End whatever the agent does: at rest since idle_since.
local function free(prefix, id, a, idle_since, now)
  leave_request(prefix, id, a)
  call('HDEL', a.key, 'activity', 'until', 'since', 'token', 'request', 'call', 'queue', 'caller',
    'wrap_up_ms')
  call('HSET', a.key, 'idle_since', idle_since)
  a.activity, a.until_ms, a.idle_since, a.token, a.call = false, nil, idle_since, false, false
  place(prefix, id, a, now)
end

-- Give the agent an activity with an end; more: fields and values to write along.
local function engage(prefix, id, a, activity, now, until_ms, ...)
  call('HSET', a.key, 'activity', activity, 'since', now, 'until', until_ms, ...)
  a.activity, a.since, a.until_ms = activity, now, until_ms
  place(prefix, id, a, now)
end

local function remember_talk(prefix, id, a, now)
  if a.caller and a.caller ~= '' then
    -- Digits and the like only: a caller without a number has no history.
    call('SET', prefix .. 'talked:' .. a.caller, now .. ' ' .. id, 'PX', TALKED_MS)
  end
end

-- The agent talks: the call leaves its line, the others that were asked for it are free again.
local function connect(prefix, id, a, now, longest_ms)
  if a.request and a.token then
    local key = prefix .. 'request:' .. a.request
    local text = call('GET', key)
    if text and match(text, '^[^\n]*') == a.token then
      local others = match(text, '^[^\n]*\n[^\n]*\n(.*)$')
      call('SET', key, a.token .. '\n' .. (now + longest_ms) .. '\n' .. id .. '\n', 'PX', longest_ms)
      for other in gmatch(others, '[^\n]+') do -- as many as were asked: bounded by the reserve
        local b = other ~= id and read_agent(prefix .. 'agent:' .. other)
        if b and b.token == a.token and next_state(state_of(b, now), 'release') then
          b.request = false -- written above
          free(prefix, other, b, b.idle_since, now) --@group-release
        end
      end
    end
  end
  if a.call then
    call('DEL', prefix .. 'waiting_call:' .. a.call, prefix .. 'tried:' .. a.call)
  end
  remember_talk(prefix, id, a, now)
  engage(prefix, id, a, 'on_call', now, now + longest_ms, 'unanswered', 0)
end

-- The call is over: wrap-up, or free at once. Keeps the queue's average handling time.
local function end_call(prefix, id, a, now, wrap_up_ms)
  if a.queue and a.since then
    local key = prefix .. 'queue_live:' .. a.queue
    local average = tonumber(call('HGET', key, 'handling_ms') or nil)
    local newest = now - a.since + wrap_up_ms
    call('HSET', key, 'handling_ms', average and average + 0.1 * (newest - average) or newest)
  end
  remember_talk(prefix, id, a, now)
  leave_request(prefix, id, a)
  if wrap_up_ms <= 0 then
    free(prefix, id, a, now, now)
  else
    call('HDEL', a.key, 'token', 'request', 'caller')
    engage(prefix, id, a, 'wrap_up', now, now + wrap_up_ms)
  end
end

-- The agent did not answer: counted; at the limit paused (pause_ms > 0) or disabled.
local function miss(prefix, id, a, now, limit, pause_ms)
  if a.call then
    local tried = prefix .. 'tried:' .. a.call
    if call('SCARD', tried) < MAX_TRIED then call('SADD', tried, id) end
    call('PEXPIRE', tried, CALL_OVER_MS)
  end
  local count = call('HINCRBY', a.key, 'unanswered', 1)
  if count >= limit then
    call('HSET', a.key, 'disabled', 1, 'unanswered', 0)
    a.disabled, a.disabled_until = '1', nil
    if pause_ms > 0 then
      a.disabled_until = now + pause_ms
      call('HSET', a.key, 'disabled_until', a.disabled_until)
    else
      call('HDEL', a.key, 'disabled_until')
    end
  end
  free(prefix, id, a, now, now)
  if count >= limit then place_and_rank(prefix, id, a, now) end
  return count
end

-- Whether id a stands before id b in a sorted set of equal scores. Not `<`: that asks the locale.
local function is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The n longest idle that are ready and not excluded.
local function longest_idle(ready, n, excluded, excluded_count, now)
  local found = {}
  local heads = call('ZRANGE', ready, 0, n + excluded_count - 1, 'WITHSCORES')
  for i = 1, #heads, 2 do
    if tonumber(heads[i + 1]) > now or #found == n then break end
    if not excluded[heads[i]] then found[#found + 1] = heads[i] end
  end
  return found
end

-- The ready one that `draw` falls on, each with the same chance.
local function drawn(ready, draw, excluded, now)
  local skipped = {}
  for id in pairs(excluded) do
    local score = call('ZSCORE', ready, id)
    if score and tonumber(score) <= now then skipped[#skipped + 1] = call('ZRANK', ready, id) end
  end
  table.sort(skipped)
  local count = call('ZCOUNT', ready, '-inf', now) - #skipped
  if count <= 0 then return {} end
  local index = math.floor(draw * count)
  for _, rank in ipairs(skipped) do
    if rank <= index then index = index + 1 end
  end
  return call('ZRANGE', ready, index, index)
end

-- Which of a queue's ranks a strategy goes by; nil: by idle time or chance.
local RANKED = { most_skilled = 'level', fixed_order = 'order', round_robin = 'turn' }
-- Rank and idle time in one number, exact below 2^53: ranks up to 100,000, then hundredths of a second
-- since 2020, enough until 2041. Idle times in the same hundredth are equal to these strategies.
local IDLE_SPAN = 2 ^ 36
local IDLE_EPOCH_MS = 1577836800000
local INDEXED_AT_ONCE = 2000
local REBUILT_EVERY_MS = 600000

-- The keys of one requirement's index by rank.
local function rank_keys(prefix, kind, queue, requirement)
  return {
    kind = kind, ranks = prefix .. kind .. ':' .. queue,
    index = prefix .. 'ranked:' .. kind .. ':' .. requirement,
    until_ms = prefix .. 'ranked_until:' .. kind .. ':' .. requirement,
    again = prefix .. 'ranked_again:' .. kind .. ':' .. requirement,
  }
end

local function index_ready(by, ids, ats)
  for from = 1, #ids, 500 do
    local last = math.min(from + 499, #ids)
    local ranks = call('ZMSCORE', by.ranks, unpack(ids, from, last))
    local pairs_of = {}
    for i = from, last do
      local rank, at = tonumber(ranks[i - from + 1] or nil), tonumber(ats[i] or nil)
      if rank and at then
        pairs_of[#pairs_of + 1] = by.kind == 'turn' and rank
          or rank * IDLE_SPAN + math.floor((at - IDLE_EPOCH_MS) / 10)
        pairs_of[#pairs_of + 1] = ids[i]
      end
    end
    if #pairs_of > 0 then call('ZADD', by.index, unpack(pairs_of)) end
  end
end

-- Bring an index by rank up to date: add who became ready since the last time, or took an old place
-- again. Work is in proportion to what happened, whatever the number of agents; never more than
-- INDEXED_AT_ONCE (after a start the longest idle come first, a few picks later everybody is in).
-- Begun anew now and then, so that not even a clock set back can hide somebody for long.
local function update_index(by, ready, now)
  local from = call('GET', by.until_ms)
  local fresh = call('ZRANGEBYSCORE', ready, from or '-inf', now, 'WITHSCORES', 'LIMIT', 0,
    INDEXED_AT_ONCE)
  local ids, ats = {}, {}
  for i = 1, #fresh, 2 do
    ids[#ids + 1], ats[#ats + 1] = fresh[i], fresh[i + 1]
  end
  index_ready(by, ids, ats)
  local seen_until = #ids < INDEXED_AT_ONCE and now or ats[#ats]
  if from then
    call('SET', by.until_ms, seen_until, 'KEEPTTL')
  else
    call('SET', by.until_ms, seen_until, 'PX', REBUILT_EVERY_MS)
  end
  local again = call('SPOP', by.again, 500)
  if #again > 0 then index_ready(by, again, call('ZMSCORE', ready, unpack(again))) end
end

-- The best by (rank, idle since, id). Who got busy since stands in the index until met here.
local function best_ranked(by, ready, excluded, now)
  update_index(by, ready, now)
  local from = 0
  for _ = 1, 128 do
    local heads = call('ZRANGE', by.index, from, from + 7)
    if #heads == 0 then break end
    local ats, busy, best = call('ZMSCORE', ready, unpack(heads)), {}, nil
    for i, id in ipairs(heads) do
      local at = tonumber(ats[i] or nil)
      if not at or at > now then
        busy[#busy + 1] = id
      elseif not best and not excluded[id] then
        best = id
      end
    end
    if #busy > 0 then call('ZREM', by.index, unpack(busy)) end
    if best then return { best } end
    from = from + #heads - #busy
  end
  return {}
end

local function pick_among(ready, wish, excluded, excluded_count, now)
  if wish.sticky and not excluded[wish.sticky] then
    local at = call('ZSCORE', ready, wish.sticky)
    if at and tonumber(at) <= now then return { wish.sticky } end
  end
  if wish.strategy == 'random' then return drawn(ready, wish.draw, excluded, now) end
  if wish.by then
    local found = best_ranked(wish.by, ready, excluded, now)
    if #found > 0 then return found end
    -- Nobody indexed: nobody ready, or too many busy ones in the way. Then whoever is idle longest.
  end
  return longest_idle(ready, wish.count, excluded, excluded_count, now)
end

-- Who is to be asked, as router/acd/strategies.py has it: excluded ones only when nobody else is ready.
local function pick(ready, wish, now)
  local found = pick_among(ready, wish, wish.excluded, wish.excluded_count, now)
  if #found == 0 and wish.excluded_count > 0 then
    local all = { strategy = wish.strategy, count = wish.count, draw = wish.draw, by = wish.by }
    found = pick_among(ready, all, {}, 0, now)
  end
  return found
end

-- Reserve one agent that was picked; false when its record says no (then its places are put right).
local function take(prefix, id, now, lease, about)
  local a = read_agent(prefix .. 'agent:' .. id)
  if not a then return false end
  local at = ready_at(a)
  if next_state(state_of(a, now), 'reserve') ~= 'reserved' or not at then --@state-check
    place(prefix, id, a, now)
    return false
  end
  call('HSET', a.key, 'idle_since', at)
  a.idle_since = at
  engage(prefix, id, a, 'reserved', now, now + lease, 'token', about.token, 'request', about.request,
    'call', about.call, 'queue', about.queue, 'caller', about.caller, 'wrap_up_ms', about.wrap_up_ms)
  local turns = prefix .. 'turn:' .. about.queue
  call('ZADD', turns, last_turn(turns), id) --@turn
  return true
end

-- Pick and reserve; the ids, none when nobody is ready. Records win over sets, so a few looks may
-- be needed when a set was wrong; never more than eight.
local function pick_and_take(prefix, ready, wish, now, lease, about)
  for _ = 1, 8 do
    local found = pick(ready, wish, now)
    if #found == 0 then return found end
    local taken = {}
    for _, id in ipairs(found) do
      if take(prefix, id, now, lease, about) then taken[#taken + 1] = id end
    end
    if #taken > 0 then
      call('SET', prefix .. 'request:' .. about.request,
        about.token .. '\n' .. (now + lease) .. '\n' .. table.concat(taken, '\n') .. '\n', 'PX', lease)
      return taken
    end
  end
  return {}
end

-- What a live request was given before: {lease end, token, ids...}; nil when it is new.
local function given_before(text)
  if not text then return nil end
  local token, until_ms, ids = match(text, '^([^\n]*)\n([^\n]*)\n(.*)$')
  local given = { until_ms, token }
  for id in gmatch(ids, '[^\n]+') do given[#given + 1] = id end
  return given
end

-- Whether a requirement is completely registered; remembers its use, to the hour.
local function use_requirement(used_key, requirement, now)
  local used = call('HGET', used_key, requirement)
  if not used then return false end
  if now - used > HOUR_MS then call('HSET', used_key, requirement, now) end
  return true
end

-- Who last talked with the caller, if not longer ago than sticky_ms.
local function last_agent_of(key, sticky_ms, now)
  local talk = key and sticky_ms > 0 and call('GET', key)
  if not talk then return nil end
  local at, id = match(talk, '^(%d+) (.*)$')
  return now - at <= sticky_ms and id or nil
end

-- The call that a freed agent takes: first in order of those the agent can serve, ones that this
-- agent left unanswered last. Looks at the first LOOK calls of each line: the others are behind them.
local LOOK = 16
local function first_call(prefix, id, a, claimed)
  local best, best_at, tried_best, tried_at
  for requirement in gmatch(a.reqs, '[^\n]+') do
    local key = prefix .. 'waiting:' .. requirement
    local from, last, size = 0, 0, 1
    while from < LOOK and not is_disturbed(a, requirement) do
      local heads = call('ZRANGE', key, from, last, 'WITHSCORES')
      local is_found = false
      for i = 1, #heads, 2 do
        local waiting, at = heads[i], tonumber(heads[i + 1])
        if best and (at > best_at or (at == best_at and not is_before(waiting, best))) then
          is_found = true -- this line has nothing better
          break
        end
        if not claimed[waiting] then
          if call('SISMEMBER', prefix .. 'tried:' .. waiting, id) == 0 then
            best, best_at, is_found = waiting, at, true
            break
          elseif not tried_best or at < tried_at
            or (at == tried_at and is_before(waiting, tried_best)) then
            tried_best, tried_at = waiting, at
          end
        end
      end
      if is_found or #heads < 2 * size then break end
      from, last, size = last + 1, LOOK - 1, LOOK - 1
    end
  end
  if best then return best, best_at end
  return tried_best, tried_at
end

-- What a waiting call asks for by now. steps: lines `after_ms requirement`, ascending.
local function requirement_at(steps, waited_ms)
  local current, next_ms
  for after_ms, requirement in gmatch(steps, '(%d+) ([^\n]+)\n') do
    if tonumber(after_ms) <= waited_ms then
      current = requirement
    else
      next_ms = tonumber(after_ms)
      break
    end
  end
  return current, next_ms
end

-- Let a call of the line ask for what it may ask for by now; the requirement.
local function relax(prefix, waiting, key, now)
  local v = call('HMGET', key, 'requirement', 'steps', 'arrival', 'score')
  if not v[1] then
    call('ZREM', prefix .. 'relax_due', waiting)
    return nil
  end
  local current, next_ms = requirement_at(v[2], now - v[3])
  if current ~= v[1] then
    call('HSET', key, 'requirement', current)
    if call('ZREM', prefix .. 'waiting:' .. v[1], waiting) == 1 then
      call('ZADD', prefix .. 'waiting:' .. current, v[4], waiting)
    end
  end
  if next_ms then
    call('ZADD', prefix .. 'relax_due', v[3] + next_ms, waiting)
  else
    call('ZREM', prefix .. 'relax_due', waiting)
  end
  return current
end

-- Relax the calls whose time has come, at most n; their ids.
local function relax_due_calls(prefix, n, now)
  local due = call('ZRANGEBYSCORE', prefix .. 'relax_due', '-inf', now, 'LIMIT', 0, n)
  for _, waiting in ipairs(due) do relax(prefix, waiting, prefix .. 'waiting_call:' .. waiting, now) end
  return due
end

-- Out of the line, the record stays: an offer that fails puts the call back in its old place.
local function leave_line(prefix, waiting, queue, requirement)
  call('ZREM', prefix .. 'waiting:' .. requirement, waiting)
  call('ZREM', prefix .. 'line:' .. queue, waiting)
  call('ZREM', prefix .. 'arrivals:' .. queue, waiting)
  call('ZREM', prefix .. 'relax_due', waiting)
end
