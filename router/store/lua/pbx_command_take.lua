-- The controller of a PBX takes the next command, and shows that it is there.
--
-- KEYS 1 pbx_inbox:<pbx> 2 pbxs 3 pbx_lease:<pbx>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 PBX 4 the controller's token, '' for one
--      that has no rival
-- Result {id, command, time left (ms)} | nil: there is none | 'DEPOSED': somebody else runs this PBX
--        | 'EXPIRED'
-- Keeps  Each command is taken once, only by the controller in charge, never after its time.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

if ARGV[4] ~= '' and call('GET', KEYS[3]) ~= ARGV[4] then return 'DEPOSED' end --@lease
call('ZADD', KEYS[2], now, ARGV[3])
while true do -- as many as the inbox holds, which is bounded
  local id = call('LPOP', KEYS[1])
  if not id then return nil end
  local key = ARGV[2] .. 'pbx_command:' .. id
  local v = call('HMGET', key, 'state', 'command', 'until')
  if v[1] == 'sent' then --@once
    if now <= tonumber(v[3]) then --@late
      call('HSET', key, 'state', 'taken')
      return { id, v[2], v[3] - now }
    end
    call('HSET', key, 'state', 'withdrawn')
  end
end
