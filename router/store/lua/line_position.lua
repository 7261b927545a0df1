-- Where a call stands, and what its wait can be estimated from.
--
-- KEYS 1 waiting_call:<call> 2 line:<queue> 3 ready:<queue> 4 queue_live:<queue>
-- ARGV 1 deadline (ms on this clock) 2 call
-- Result {position from 1, how many wait, waited (ms), agents on duty, average handling (ms) or ''}
--        | nil: it does not wait there | 'EXPIRED'
-- Keeps  Reads only.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local rank = call('ZRANK', KEYS[2], ARGV[2])
local arrival = call('HGET', KEYS[1], 'arrival')
if not rank or not arrival then return nil end
return {
  rank + 1, call('ZCARD', KEYS[2]), now - arrival, call('ZCARD', KEYS[3]),
  call('HGET', KEYS[4], 'handling_ms') or '',
}
