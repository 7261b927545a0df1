-- Put a message on the list of a mailbox.
--
-- KEYS 1 messages:<mailbox>
-- ARGV 1 deadline (ms on this clock) 2 message (JSON) 3 kept for (ms) 4 at most so many
-- Result how many there are | 'EXPIRED'
-- Keeps  None is listed for longer than that once another comes; the list of a mailbox that gets no more
--        messages lapses as a whole.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end
local size = call('LPUSH', KEYS[1], ARGV[2])
while size > tonumber(ARGV[4]) or cjson.decode(call('LINDEX', KEYS[1], -1)).at_ms < now - ARGV[3] do --@old
  call('RPOP', KEYS[1])
  size = size - 1
  if size == 0 then return 0 end
end
call('PEXPIRE', KEYS[1], ARGV[3])
return size
