-- Remove a requirement that nobody used for a while, one bounded step at a time.
--
-- KEYS 1 requirements 2 requirements_used 3 members:<queue> 4 ready:<requirement> 5 waiting:<requirement>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 requirement id 4 cursor ('0' at first) 5 unused for (ms)
-- Result the next cursor, '0' when done or when it is in use after all | 'EXPIRED'
-- Keeps  A requirement that calls wait for, or that was used or registered again meanwhile, stays. An
--        interrupted removal is taken up by the next one.
-- Shared: _agent _pick

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local requirement = ARGV[3]
local entry = call('HGET', KEYS[1], requirement)
if not entry or call('EXISTS', KEYS[5]) == 1 then return '0' end
if not find(requirement, '|', 1, true) and call('EXISTS', KEYS[3]) == 1 then return '0' end
if ARGV[4] == '0' then
  local used = call('HGET', KEYS[2], requirement) or match(entry, '%d+$')
  if now - used < tonumber(ARGV[5]) then return '0' end
  call('HDEL', KEYS[2], requirement)
  call('HSET', KEYS[1], requirement, 'down 0')
elseif not find(entry, '^down') then
  return '0'
end
local step = call('SSCAN', KEYS[3], ARGV[4], 'COUNT', 100)
for _, id in ipairs(step[2]) do
  local key = ARGV[2] .. 'agent:' .. id
  local reqs = call('HGET', key, 'reqs')
  local from, to = find('\n' .. (reqs or ''), '\n' .. requirement .. '\n', 1, true)
  if from then
    call('HSET', key, 'reqs', string.sub(reqs, 1, from - 1) .. string.sub(reqs, to))
    call('ZREM', KEYS[4], id)
  end
end
if step[1] == '0' then
  call('DEL', KEYS[4])
  for kind in gmatch('level order turn', '%a+') do
    local by = rank_keys(ARGV[2], kind, '', requirement)
    call('DEL', by.index, by.until_ms, by.again)
  end
  call('HDEL', KEYS[1], requirement)
end
return step[1]
