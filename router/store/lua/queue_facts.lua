-- Live facts of several queues in one round trip.
--
-- KEYS for each queue: ready:<queue> arrivals:<queue> held:<queue> queue_live:<queue>
-- ARGV 1 deadline (ms on this clock)
-- Result for each queue {waiting, longest wait (ms), agents idle, agents on duty, average handling (ms)},
--        the last '' when no call was handled yet | 'EXPIRED'
-- Keeps  Reads only. On duty means there and reachable: not disturbed, not disabled. A caller held by the
--        phone system longer than its hold limit is not counted: that hang-up got lost.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local facts = {}
for i = 1, #KEYS, 4 do
  local live = call('HMGET', KEYS[i + 3], 'handling_ms', 'hold_ms')
  local oldest = now - (tonumber(live[2] or nil) or 0)
  local first = call('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')[2]
  local first_held = call('ZRANGEBYSCORE', KEYS[i + 2], oldest, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local since = math.min(tonumber(first or nil) or now, tonumber(first_held or nil) or now)
  facts[#facts + 1] = {
    call('ZCARD', KEYS[i + 1]) + call('ZCOUNT', KEYS[i + 2], oldest, '+inf'),
    math.max(now - since, 0),
    call('ZCOUNT', KEYS[i], '-inf', now),
    call('ZCARD', KEYS[i]),
    live[1] or '',
  }
end
return facts
