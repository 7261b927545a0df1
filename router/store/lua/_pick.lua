-- Choosing one of several ready agents, and reserving. Needs _agent.

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
  local a = read_standing(prefix .. 'agent:' .. id)
  if not a then -- lost (evicted, deleted by hand): nobody may stumble over it again
    for _, requirement in ipairs(call('HKEYS', prefix .. 'requirements')) do
      call('ZREM', prefix .. 'ready:' .. requirement, id)
    end
    return false
  end
  local at = ready_at(a)
  if next_state(state_of(a, now), 'reserve') ~= 'reserved' or not at --@state-check
    or is_disturbed(a, about.queue) then
    place(prefix, id, a, now)
    return false
  end
  local activity = about.rings and 'ringing' or 'reserved' -- whoever is reserved may ring
  engage(prefix, id, a, activity, now, now + lease, 'idle_since', at, 'token', about.token,
    'request', about.request, 'call', about.call, 'queue', about.queue, 'caller', about.caller,
    'wrap_up_ms', about.wrap_up_ms)
  local turns = prefix .. 'turn:' .. about.queue
  call('ZADD', turns, about.turn or last_turn(turns), id) --@turn
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

-- Who last talked with the caller, if not longer ago than sticky_ms.
local function last_agent_of(key, sticky_ms, now)
  local talk = key and sticky_ms > 0 and call('GET', key)
  if not talk then return nil end
  local at, id = match(talk, '^(%d+) (.*)$')
  return now - at <= sticky_ms and id or nil
end
