-- The phone system reports that it holds a caller in a queue of its own.
--
-- KEYS 1 held:<queue> 2 held_call:<call> 3 queue_live:<queue> 4 unheld:<call>
-- ARGV 1 deadline (ms on this clock) 2 queue id 3 call 4 waiting since (ms, the reporter's clock; '' : now)
--      5 longest hold (ms) 6 at most so many calls
-- Result 1 | 0: it has ended since, or too many are held | 'EXPIRED'
-- Keeps  Copies do nothing. A late report that a call is held changes nothing after the report that it is
--        not; one whose end is never reported stops counting after the longest hold.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local since = tonumber(ARGV[4]) or now
if since <= (tonumber(call('GET', KEYS[4]) or nil) or 0) then return 0 end
local hold = tonumber(ARGV[5])
call('HSET', KEYS[3], 'hold_ms', hold)
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - hold))
if call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then return 0 end
call('ZADD', KEYS[1], 'NX', math.min(now, math.max(since, now - hold)), ARGV[3])
call('PEXPIRE', KEYS[1], hold)
call('SET', KEYS[2], ARGV[2], 'PX', hold)
return 1
