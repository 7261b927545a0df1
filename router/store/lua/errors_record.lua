-- Count errors of a router; more than the limit within the window switch it off.
--
-- KEYS: 1 the router's errors (LIST), 2 disabled routers (HASH), 3 resets (HASH)
-- ARGV: 1 router, 2 limit, 3 window ms, 4 how many to keep, 5 what time it is to who tells (ms),
--       then errors: `ms code key`, in that time
-- Result: {errors within the window, ms since when it is switched off or 0, 1 if just now}
-- Keeps true: an error counts once however often it is told; what was before a reset does not
-- count; enabling a router clears nothing, so the next error switches it off again. All times kept are
-- of this clock: one that tells with a clock minutes away counts like the others.

local SAME_MS = 1000 -- what a message may take, and clocks may differ, without being put right

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local router, limit, window, kept = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local since = math.max(now - window, tonumber(redis.call('HGET', KEYS[3], router) or 0))

local ahead = ARGV[5] - now
if math.abs(ahead) <= SAME_MS then ahead = 0 end
local counted = {}
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  counted[string.match(entry, ' (.*)$')] = true
end
for i = 6, #ARGV do
  local told, which = string.match(ARGV[i], '^(%d+) (.*)$')
  local at = told and told - ahead
  if at and at > since and not counted[which] then
    counted[which] = true
    redis.call('LPUSH', KEYS[1], string.format('%.0f ', at) .. which)
  end
end
redis.call('LTRIM', KEYS[1], 0, kept - 1)
redis.call('PEXPIRE', KEYS[1], window)

local count = 0
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if tonumber(string.match(entry, '^(%d+) ')) > since then
    count = count + 1
  end
end
local disabled = tonumber(redis.call('HGET', KEYS[2], router) or 0)
if count > limit and disabled == 0 and #ARGV > 5 then
  redis.call('HSET', KEYS[2], router, now)
  return { count, now, 1 }
end
return { count, disabled, 0 }
