-- Whoever sent a command waits no longer: if nobody has taken it, nobody will.
--
-- KEYS 1 pbx_command:<id>
-- ARGV 1 deadline (ms on this clock)
-- Result {'WITHDRAWN'}: it never happens | {'TAKEN'}: it may have happened | {'ANSWERED', answer} | 'EXPIRED'
-- Keeps  What was withdrawn is never taken.

if time_ms() > tonumber(ARGV[1]) then return 'EXPIRED' end

local v = call('HMGET', KEYS[1], 'state', 'answer')
if v[1] == 'answered' then return { 'ANSWERED', v[2] } end
if v[1] == 'taken' then return { 'TAKEN' } end
if v[1] then call('HSET', KEYS[1], 'state', 'withdrawn') end
return { 'WITHDRAWN' }
