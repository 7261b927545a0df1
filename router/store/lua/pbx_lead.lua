-- Run a PBX, or go on running it; or give it up.
--
-- KEYS 1 pbx_lease:<pbx>
-- ARGV 1 deadline (ms on this clock) 2 token 3 lease (ms; 0: give it up)
-- Result 1: it is ours | 0: somebody else's | 'EXPIRED'
-- Keeps  One controller at a time; who is gone loses it with the lease.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local holder = call('GET', KEYS[1])
if holder and holder ~= ARGV[2] then return 0 end --@holder
if ARGV[3] == '0' then
  call('DEL', KEYS[1])
else
  call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
