-- The controller says what became of a command.
--
-- KEYS 1 pbx_command:<id>
-- ARGV 1 deadline (ms on this clock) 2 answer (JSON)
-- Result 1 | 0: nobody waits for it any more | 'EXPIRED'
-- Keeps  Only what was taken is answered, and once.

if time_ms() > tonumber(ARGV[1]) then return 'EXPIRED' end

if call('HGET', KEYS[1], 'state') ~= 'taken' then return 0 end
call('HSET', KEYS[1], 'state', 'answered', 'answer', ARGV[2])
return 1
