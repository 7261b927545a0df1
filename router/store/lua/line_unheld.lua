-- The phone system reports that a caller is not held any more.
--
-- KEYS 1 held_call:<call> 2 unheld:<call>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 call 4 event time (ms, the reporter's
--      clock; '' : now)
-- Result 1 | 0: it was not held | 'EXPIRED'
-- Keeps  A report that the call is held from before this one will be ignored.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

call('SET', KEYS[2], tonumber(ARGV[4]) or now, 'PX', 3600000)
local queue = call('GET', KEYS[1])
if not queue then return 0 end
call('DEL', KEYS[1])
return call('ZREM', ARGV[2] .. 'held:' .. queue, ARGV[3])
