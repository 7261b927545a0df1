-- Look after waiting calls: which should ask again, which agents are ready for them, when to look again.
--
-- KEYS 1 relax_due
-- ARGV 1 deadline (ms on this clock) 2 prefix 3... calls, at most 500
-- Result {ms until somebody gets ready by time or a call asks for less (-1: nobody),
--         {calls that are offered an agent or have lost their place}, {ready agents}} | 'EXPIRED'
-- Keeps  Calls whose time has come ask for less. Nobody is reserved here. Who looks after a call lives:
--        otherwise it gets no agent any more.
-- Shared: _agent _pick _line

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, ask, agents, next_at = ARGV[2], {}, {}, nil
local asked_for, seen = {}, {}
local function sooner(at)
  if at and (not next_at or at < next_at) then next_at = at end
end
for i = 3, #ARGV do
  local id = ARGV[i]
  local key = prefix .. 'waiting_call:' .. id
  local known = call('HMGET', key, 'queue', 'seen')
  local queue = known[1]
  if call('EXISTS', prefix .. 'request:' .. id) == 1 or not queue
    or not call('ZSCORE', prefix .. 'line:' .. queue, id) then
    ask[#ask + 1] = id
  else
    if now - (known[2] or 0) > SEEN_EVERY_MS then call('HSET', key, 'seen', now) end
    asked_for[relax(prefix, id, key, now)] = true
    sooner(tonumber(call('ZSCORE', KEYS[1], id) or nil))
  end
end
for requirement in pairs(asked_for) do
  local ready = prefix .. 'ready:' .. requirement
  for _, agent in ipairs(call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', 0, 8)) do
    if not seen[agent] then
      seen[agent] = true
      agents[#agents + 1] = agent
    end
  end
  sooner(tonumber(call('ZRANGEBYSCORE', ready, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or nil))
end
return { next_at and math.max(0, next_at - now) or -1, ask, agents }
