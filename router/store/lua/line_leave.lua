-- A call leaves the line: given up, answered elsewhere, or dropped with its place kept for a while.
--
-- KEYS 1 waiting_call:<call> 2 tried:<call>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 call 4 keep the place for the caller (ms, 0: not)
-- Result 1 | 0: it was not there | 'EXPIRED'
-- Keeps  Nothing of the call stays but the place, under the caller's number.
-- Shared: _agent _pick _line

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local v = call('HMGET', KEYS[1], 'queue', 'requirement', 'arrival', 'caller')
if not v[1] then return 0 end
leave_line(ARGV[2], ARGV[3], v[1], v[2])
call('DEL', KEYS[1], KEYS[2])
if tonumber(ARGV[4]) > 0 and v[4] and v[4] ~= '' then
  call('SET', ARGV[2] .. 'kept_place:' .. v[1] .. ':' .. v[4], v[3], 'PX', ARGV[4])
end
return 1
