-- Where a call stands, and what its wait can be estimated from. A call that an agent is being offered is
-- out of the line: it has the place to which an offer that fails leads back.
--
-- KEYS 1 waiting_call:<call> 2 line:<queue> 3 ready:<queue> 4 queue_live:<queue>
-- ARGV 1 deadline (ms on this clock) 2 call 3 queue id
-- Result {position from 1, how many wait, waited (ms), agents on duty, average handling (ms) or ''}
--        | nil: it does not wait there | 'EXPIRED'
-- Keeps  Reads only.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local v = call('HMGET', KEYS[1], 'queue', 'arrival', 'score')
if v[1] ~= ARGV[3] then return nil end
local rank, waiting = call('ZRANK', KEYS[2], ARGV[2]), call('ZCARD', KEYS[2])
if not rank then
  rank, waiting = call('ZCOUNT', KEYS[2], '-inf', '(' .. v[3]), waiting + 1 --@offered
end
return {
  rank + 1, waiting, now - v[2], call('ZCARD', KEYS[3]),
  call('HGET', KEYS[4], 'handling_ms') or '',
}
