-- Register a requirement, one bounded step at a time: place the members of its queue that meet it.
--
-- KEYS 1 requirements 2 requirements_used 3 members:<queue>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 requirement id 4 cursor ('0' at first)
--      5 how many requirements a tenant may have
-- Result the next cursor, '0' when done | 'FULL' | 'EXPIRED'
-- Keeps  A requirement is used only after its last step; an agent put meanwhile places itself, so nobody
--        is missed. Repeating any step is harmless.
-- Shared: _agent _pick _requirement

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, requirement = ARGV[2], ARGV[3]
if ARGV[4] == '0' then
  if use_requirement(KEYS[2], requirement, now) then return '0' end
  if call('HEXISTS', KEYS[1], requirement) == 0 and call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
    return 'FULL'
  end
  call('HSET', KEYS[1], requirement, 'up ' .. now)
end
local step = call('SSCAN', KEYS[3], ARGV[4], 'COUNT', 100)
for _, id in ipairs(step[2]) do
  local a = read_agent(prefix .. 'agent:' .. id)
  if a and not find('\n' .. a.reqs, '\n' .. requirement .. '\n', 1, true) then
    local skills, is_met = '\n' .. call('HGET', a.key, 'skills'), true
    for skill, least in gmatch(requirement, '|([^|>]*)>(%d+)') do
      local _, at = find(skills, '\n' .. skill .. '>', 1, true)
      is_met = is_met and at ~= nil and tonumber(match(skills, '^%d+', at + 1)) >= tonumber(least)
    end
    if is_met then
      call('HSET', a.key, 'reqs', a.reqs .. requirement .. '\n')
      local ready = ready_at(a)
      if ready and not is_disturbed(a, requirement) then
        call('ZADD', prefix .. 'ready:' .. requirement, ready, id)
      end
    end
  end
end
if step[1] == '0' then call('HSET', KEYS[2], requirement, now) end
return step[1]
