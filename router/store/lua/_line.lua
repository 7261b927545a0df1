-- Waiting calls. Needs _agent and _pick.

-- Whose PBX has not looked after a call for so long (it looks once a second) may be gone for good.
local SILENT_MS = 60000
local SEEN_EVERY_MS = 10000
local MOST_SILENT = 64

-- Out of the line, the record stays: an offer that fails puts the call back in its old place.
local function leave_line(prefix, waiting, queue, requirement)
  call('ZREM', prefix .. 'waiting:' .. requirement, waiting)
  call('ZREM', prefix .. 'line:' .. queue, waiting)
  call('ZREM', prefix .. 'arrivals:' .. queue, waiting)
  call('ZREM', prefix .. 'relax_due', waiting)
end

-- Let calls that nobody looks after leave a line that has no room: their places are kept, others need
-- not wait for that. At most once a second, since everybody in the line may have to be looked at.
local MOST_IN_LINE = 1200
local function make_room(prefix, queue, line, now)
  if not call('SET', prefix .. 'line_swept:' .. queue, 1, 'NX', 'PX', 1000) then return end
  for _, waiting in ipairs(call('ZRANGE', line, 0, MOST_IN_LINE - 1)) do
    local v = call('HMGET', prefix .. 'waiting_call:' .. waiting, 'seen', 'requirement')
    if v[1] and now - v[1] > SILENT_MS then leave_line(prefix, waiting, queue, v[2]) end --@make-room
  end
end

-- The call that stands first for an agent: first in order of those the agent can serve, ones that this
-- agent left unanswered last. Looks at the first LOOK calls of each line: the others are behind them.
local LOOK = 16
local function first_standing(prefix, id, a, claimed)
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

-- The call that a freed agent takes: the first for which anybody is there. One that nobody has looked
-- after of late leaves the line on the way; its record stays, so that whoever comes back for it finds
-- the old place. At most MOST_SILENT at once; then the next one stands as if somebody were there.
local function first_call(prefix, id, a, claimed, now)
  for _ = 1, MOST_SILENT do
    local waiting, at = first_standing(prefix, id, a, claimed)
    if not waiting then return nil end
    local v = call('HMGET', prefix .. 'waiting_call:' .. waiting, 'seen', 'queue', 'requirement')
    if not v[1] or now - v[1] <= SILENT_MS then return waiting, at end --@silent
    leave_line(prefix, waiting, v[2], v[3])
  end
  return first_standing(prefix, id, a, claimed)
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
