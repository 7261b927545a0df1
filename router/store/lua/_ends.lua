-- How what an agent does ends, and what changes the agent's flags. Needs _agent.
--
-- Apart from _agent, since Redis makes every function anew at each run and a reservation needs none.

local TALKED_MS = 30 * DAY_MS
local CALL_OVER_MS = HOUR_MS
local MAX_TRIED = 100

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

-- No call for so long (pause_ms > 0), or until enabled again. Who uses it places and ranks the agent anew.
local function pause(a, now, pause_ms)
  call('HSET', a.key, 'disabled', 1, 'unanswered', 0)
  a.disabled, a.disabled_until = '1', nil
  if pause_ms > 0 then
    a.disabled_until = now + pause_ms
    call('HSET', a.key, 'disabled_until', a.disabled_until)
  else
    call('HDEL', a.key, 'disabled_until')
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
  if count >= limit then pause(a, now, pause_ms) end
  free(prefix, id, a, now, now)
  if count >= limit then place_and_rank(prefix, id, a, now) end
  return count
end
