-- Promise a callback.
--
-- KEYS 1 callback:<id> 2 callbacks 3 callback_numbers 4 callbacks_due
-- ARGV 1 deadline (ms on this clock) 2 id 3 `queue number` 4 about (JSON) 5 arrival (ms) or '' : now
--      6 at most so many open ones
-- Result {'CREATED', id} | {'DUPLICATE', id of the open one} | {'FULL', ''} | 'EXPIRED'
-- Keeps  One open callback per number and queue. Asked again with the same id it was created once.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

if call('EXISTS', KEYS[1]) == 1 then return { 'CREATED', ARGV[2] } end
local open = call('HGET', KEYS[3], ARGV[3])
if open then return { 'DUPLICATE', open } end --@duplicate
if call('HLEN', KEYS[3]) >= tonumber(ARGV[6]) then return { 'FULL', '' } end
call('HSET', KEYS[1], 'about', ARGV[4], 'status', 'waiting', 'attempts', 0, 'created', now, 'arrival',
  ARGV[5] ~= '' and ARGV[5] or now, 'owner', '', 'owned_until', 0, 'reason', '', 'due', now)
call('ZADD', KEYS[2], now, ARGV[2])
call('HSET', KEYS[3], ARGV[3], ARGV[2])
call('ZADD', KEYS[4], now, ARGV[2])
return { 'CREATED', ARGV[2] }
