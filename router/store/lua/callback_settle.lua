-- A callback goes back to waiting, or is over.
--
-- KEYS 1 callback:<id> 2 callbacks_due 3 callback_numbers 4 callbacks
-- ARGV 1 deadline (ms on this clock) 2 id 3 owner ('': a person, who may cancel what is not under way)
--      4 'waiting' | 'done' | 'failed' | 'cancelled' 5 reason 6 due in (ms) 7 `queue number` 8 kept for (ms)
--      9 '1': the attempt did not reach out to the customer and does not count 10 its id listed for (ms)
-- Result 1 | 0: not ours, or over | 'EXPIRED'
-- Keeps  What is over stays over, and its number may be called back anew.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local v = call('HMGET', KEYS[1], 'status', 'owner', 'attempts')
if v[1] ~= 'waiting' and v[1] ~= 'dialling' then return 0 end
if ARGV[3] == '' and v[1] == 'dialling' then return 0 end
if ARGV[3] ~= '' and v[2] ~= ARGV[3] then return 0 end
if ARGV[9] == '1' and v[1] == 'dialling' and tonumber(v[3]) > 0 then
  call('HINCRBY', KEYS[1], 'attempts', -1)
end
call('HSET', KEYS[1], 'status', ARGV[4], 'reason', ARGV[5], 'owner', '', 'owned_until', 0)
if ARGV[4] == 'waiting' then
  call('HSET', KEYS[1], 'due', now + ARGV[6])
  call('ZADD', KEYS[2], now + ARGV[6], ARGV[2])
  return 1
end
call('HSET', KEYS[1], 'ended', now)
if ARGV[4] == 'cancelled' then
  call('ZADD', KEYS[2], now, ARGV[2]) -- whoever has it in a line is to see that it is over
else
  call('ZREM', KEYS[2], ARGV[2])
end
if call('HGET', KEYS[3], ARGV[7]) == ARGV[2] then call('HDEL', KEYS[3], ARGV[7]) end
call('PEXPIRE', KEYS[1], ARGV[8])
call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[10])
return 1
