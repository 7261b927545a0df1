-- See to a callback: it is ours for a while, or stays ours.
--
-- KEYS 1 callback:<id> 2 callbacks_due
-- ARGV 1 deadline (ms on this clock) 2 id 3 owner 4 lease (ms)
-- Result {about, status, attempts, arrival (ms), created (ms)} | nil: somebody else's, or over | 'EXPIRED'
-- Keeps  One owner at a time; who is gone loses it with the lease.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local v = call('HMGET', KEYS[1], 'about', 'status', 'attempts', 'arrival', 'created', 'owner', 'owned_until')
if v[2] ~= 'waiting' and v[2] ~= 'dialling' then
  call('ZREM', KEYS[2], ARGV[2])
  return nil
end
if v[6] ~= '' and v[6] ~= ARGV[3] and tonumber(v[7]) > now then return nil end --@owner
call('HSET', KEYS[1], 'owner', ARGV[3], 'owned_until', now + ARGV[4])
call('ZADD', KEYS[2], now + ARGV[4], ARGV[2])
return { v[1], v[2], v[3], v[4], v[5] }
