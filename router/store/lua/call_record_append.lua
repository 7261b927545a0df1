-- Write down what happened to a call, and with it where the call stands now.
--
-- KEYS 1 call_record:<call> 2 call_events:<call> 3 call_records 4 live_calls:<pbx>
-- ARGV 1 deadline (ms on this clock) 2 call 3 began (ms) 4 kept for (ms) 5 head (JSON) 6 end (JSON) or ''
--      7 at most so many events 8 'stands', 'forget' (it goes on no more) or '' (as it was)
--      9 where it stands (JSON) or '' 10... per event '1' (there is twice the room for it) or '0', and JSON
-- Result how many events the call has | 'EXPIRED'
-- Keeps  What was written stays; an end is not taken back by a late event, nor does one prolong how long
--        the record is kept. Old records leave the list.
--        Whoever reads where a call stands finds in its record what led there.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local was_over = call('HEXISTS', KEYS[1], 'end') == 1
call('HSET', KEYS[1], 'head', ARGV[5])
if ARGV[6] ~= '' then call('HSETNX', KEYS[1], 'end', ARGV[6]) end
local most, size = tonumber(ARGV[7]), call('LLEN', KEYS[2])
for i = 10, #ARGV, 2 do
  if size < (ARGV[i] == '1' and 2 * most or most) then --@room
    size = call('RPUSH', KEYS[2], ARGV[i + 1])
  end
end
if was_over then
  call('PEXPIRE', KEYS[2], ARGV[4], 'NX') --@late
else
  call('PEXPIRE', KEYS[1], ARGV[4])
  call('PEXPIRE', KEYS[2], ARGV[4])
  call('ZADD', KEYS[3], 'NX', ARGV[3], ARGV[2])
  call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[4])
end
if ARGV[8] == 'stands' then call('HSET', KEYS[4], ARGV[2], ARGV[9]) end
if ARGV[8] == 'forget' then call('HDEL', KEYS[4], ARGV[2]) end
return size
