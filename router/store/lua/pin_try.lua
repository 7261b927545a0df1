-- Somebody keys in a PIN: may they, and against which hash?
--
-- KEYS 1 pins 2 pin_tries:<agent>
-- ARGV 1 deadline (ms on this clock) 2 agent id 3 wrong ones allowed 4 locked for (ms)
-- Result the hash | nil: none, or too many wrong ones | 'EXPIRED'
-- Keeps  Every try counts before it is checked; a right one sets the count back (DEL by the caller).

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local tries = call('INCR', KEYS[2])
call('PEXPIRE', KEYS[2], ARGV[4])
if tries > tonumber(ARGV[3]) then return nil end
return call('HGET', KEYS[1], ARGV[2])
