-- Create or reconfigure an agent. What changes by itself stays as it is.
--
-- KEYS 1 agent 2 agent_ids 3 requirements 4 requirements_used
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 '1': a new agent is on duty
--      5 how many requirements a tenant may have 6 number of queues
--      7... level, order, queue id for each queue; then level, skill id for each skill
-- Result 1: new | 0: changed | 'FULL': too many requirements, nothing was done | 'EXPIRED'
-- Keeps  The agent stands in exactly the sets of the requirements that are met.
-- Shared: _agent _ends

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, id = ARGV[2], ARGV[3]
local last_queue = 6 + 3 * ARGV[6]
local levels, member_of, queues, skills = {}, {}, '', ''
for i = 7, last_queue, 3 do
  queues = queues .. ARGV[i] .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i + 2] .. '\n'
  member_of[ARGV[i + 2]] = true
end
for i = last_queue + 1, #ARGV, 2 do
  skills = skills .. ARGV[i + 1] .. '>' .. ARGV[i] .. '\n'
  levels[ARGV[i + 1]] = tonumber(ARGV[i])
end

local new_queues = 0
for queue in pairs(member_of) do
  if call('HEXISTS', KEYS[3], queue) == 0 then new_queues = new_queues + 1 end
end
if new_queues > 0 and call('HLEN', KEYS[3]) + new_queues > tonumber(ARGV[5]) then return 'FULL' end

local a = read_agent(KEYS[1])
local is_new = not a
if is_new then
  call('HSET', KEYS[1], 'idle_since', now, 'duty_since', now)
  if ARGV[4] == '1' then call('HSET', KEYS[1], 'duty', 1) end
  call('ZADD', KEYS[2], 0, id)
else
  for requirement in gmatch(a.reqs, '[^\n]+') do call('ZREM', prefix .. 'ready:' .. requirement, id) end
  local before = call('HGET', KEYS[1], 'queues')
  for queue in gmatch(before, '%d+ %d+ ([^\n]+)\n') do
    if not member_of[queue] then
      call('SREM', prefix .. 'members:' .. queue, id)
      for _, kind in ipairs({ 'level:', 'order:', 'turn:' }) do
        call('ZREM', prefix .. kind .. queue, id)
      end
    end
  end
end

for queue in pairs(member_of) do
  call('SADD', prefix .. 'members:' .. queue, id)
  call('HSET', KEYS[3], queue, 'up ' .. now) -- the requirement that asks for nothing more
  call('HSETNX', KEYS[4], queue, now)
end
local met = ''
local known = call('HGETALL', KEYS[3])
for i = 1, #known, 2 do -- bounded: ARGV 5
  local requirement = known[i]
  if member_of[match(requirement, '^[^|]*')] and not find(known[i + 1], '^down') then
    local is_met = true
    for skill, least in gmatch(requirement, '|([^|>]*)>(%d+)') do
      is_met = is_met and levels[skill] ~= nil and levels[skill] >= tonumber(least)
    end
    if is_met then met = met .. requirement .. '\n' end
  end
end
call('HSET', KEYS[1], 'queues', queues, 'skills', skills, 'reqs', met)
place_and_rank(prefix, id, read_agent(KEYS[1]), now)
return is_new and 1 or 0
