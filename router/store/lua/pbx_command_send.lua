-- Put a command into the inbox of a PBX.
--
-- KEYS 1 pbx_command:<id> 2 pbx_inbox:<pbx> 3 pbxs
-- ARGV 1 deadline (ms on this clock) 2 id 3 PBX 4 command (JSON) 5 not to be begun after (ms on this clock)
--      6 kept for (ms) 7 a controller that looked so long ago (ms) is gone 8 at most so many in the inbox
--      9 channel to tell
-- Result 'SENT' | 'AWAY': nobody runs this PBX | 'CROWDED': too many wait already | 'EXPIRED'
-- Keeps  Sent again under the same id it stands in the inbox once.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

if call('EXISTS', KEYS[1]) == 1 then return 'SENT' end
local looked = tonumber(call('ZSCORE', KEYS[3], ARGV[3]) or nil)
if not looked or looked < now - ARGV[7] then return 'AWAY' end
if call('LLEN', KEYS[2]) >= tonumber(ARGV[8]) then return 'CROWDED' end
call('HSET', KEYS[1], 'state', 'sent', 'command', ARGV[4], 'until', ARGV[5])
call('PEXPIRE', KEYS[1], ARGV[6])
call('RPUSH', KEYS[2], ARGV[2])
call('PUBLISH', ARGV[9], ARGV[2])
return 'SENT'
