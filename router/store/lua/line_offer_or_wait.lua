-- A call takes an agent, or stands in line; asked again it does what is possible by then.
--
-- KEYS 1 waiting_call:<call> 2 line:<queue> 3 arrivals:<queue> 4 relax_due 5 requirements_used
--      6 tried:<call> 7 request:<call>
--      8 kept_place:<queue>:<caller> 9 talked:<caller> (both absent when the caller is unknown)
--      What the call asks for by now is known only here: the sets of that requirement are derived.
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 queue id 4 call 5 priority 6 aging (ms per point)
--      7 how many may wait 8 '1': take an agent, '2': and stand before all others, '0': only stand in line 9 token 10 lease (ms)
--      11 strategy 12 count 13 draw in [0,1) 14 sticky (ms, 0: none) 15 wrap-up (ms)
--      16 '1': the phones of those taken ring at once 17 caller or ''
--      18... after (ms), requirement id, ascending: what is asked for from then on; the first after is 0
-- Result {'OFFER', lease end, token, agent...} | {'WAIT', position, arrival (ms), agent...}: agents that
--        belong to calls before this one and wait for next_for_agent | 'LINE_FULL' | 'UNREGISTERED' | 'EXPIRED'
-- Keeps  A call stands in line or is offered, never both. Nobody is passed over: an agent who could serve
--        a call that stands before this one is left to that call. The place survives failed offers. No
--        line is full of calls that nobody looks after; who comes back for a kept place finds a tenth more room.
-- Shared: _agent _pick _line _requirement

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, queue, id = ARGV[2], ARGV[3], ARGV[4]
for i = 19, #ARGV, 2 do
  if not use_requirement(KEYS[5], ARGV[i], now) then return 'UNREGISTERED' end
end
local before = given_before(call('GET', KEYS[7]))
if before then return { 'OFFER', unpack(before) } end

local arrival = tonumber(call('HGET', KEYS[1], 'arrival') or nil)
if not arrival then
  local kept = KEYS[8] and tonumber(call('GET', KEYS[8]) or nil)
  local room = tonumber(ARGV[7])
  if kept then room = room + math.max(1, math.floor(room / 10)) end --@kept-place
  if ARGV[8] ~= '2' and call('ZCARD', KEYS[2]) >= room then
    make_room(prefix, queue, KEYS[2], now)
    if call('ZCARD', KEYS[2]) >= room then return 'LINE_FULL' end
  end
  if kept then call('DEL', KEYS[8]) end
  arrival = kept or now
  local score = arrival - ARGV[5] * ARGV[6]
  if ARGV[8] == '2' then
    local first = call('ZRANGE', KEYS[2], '0', '0', 'WITHSCORES')
    score = math.min(score, (tonumber(first[2]) or score) - 1) --@first
  end
  local steps = ''
  for i = 18, #ARGV, 2 do steps = steps .. ARGV[i] .. ' ' .. ARGV[i + 1] .. '\n' end
  call('HSET', KEYS[1], 'queue', queue, 'requirement', ARGV[19], 'steps', steps, 'arrival', arrival,
    'score', score, 'priority', ARGV[5], 'caller', ARGV[17])
end
call('PEXPIRE', KEYS[1], DAY_MS) -- nobody waits that long: what a lost process left behind
if ARGV[8] ~= '0' then call('HSET', KEYS[1], 'seen', now) end
local requirement = relax(prefix, id, KEYS[1], now)
local score = call('HGET', KEYS[1], 'score')
call('ZADD', prefix .. 'waiting:' .. requirement, score, id)
call('ZADD', KEYS[2], score, id)
call('ZADD', KEYS[3], arrival, id)

local wake = {}
if ARGV[8] ~= '0' then
  local excluded, excluded_count = {}, 0
  for _, other in ipairs(call('SMEMBERS', KEYS[6])) do -- at most MAX_TRIED
    excluded[other], excluded_count = true, excluded_count + 1
  end
  local wish = {
    by = RANKED[ARGV[11]] and rank_keys(prefix, RANKED[ARGV[11]], queue, requirement),
    strategy = ARGV[11], count = tonumber(ARGV[12]), draw = tonumber(ARGV[13]),
    sticky = last_agent_of(KEYS[9], tonumber(ARGV[14]), now),
    excluded = excluded, excluded_count = excluded_count,
  }
  local lease = tonumber(ARGV[10])
  local about = {
    token = ARGV[9], request = id, call = id, queue = queue, caller = ARGV[17], wrap_up_ms = ARGV[15],
    rings = ARGV[16] == '1',
  }
  local ready, claimed, spoken_for = prefix .. 'ready:' .. requirement, {}, {}
  for _ = 1, 8 do -- agents who belong to calls before this one are passed over, so many at most
    local found = pick(ready, wish, now)
    if #found == 0 or spoken_for[found[1]] then break end
    local a = read_agent(prefix .. 'agent:' .. found[1])
    local first = a and first_call(prefix, found[1], a, claimed, now)
    if first and first ~= id then --@fair
      claimed[first], spoken_for[found[1]] = true, true
      wake[#wake + 1] = found[1]
      if not excluded[found[1]] then
        excluded[found[1]], wish.excluded_count = true, wish.excluded_count + 1
      end
    else
      local taken = {}
      for _, agent in ipairs(found) do
        if not spoken_for[agent] and take(prefix, agent, now, lease, about) then
          taken[#taken + 1] = agent
        end
      end
      if #taken > 0 then
        leave_line(prefix, id, queue, requirement)
        call('SET', KEYS[7], about.token .. '\n' .. (now + lease) .. '\n' .. table.concat(taken, '\n')
          .. '\n', 'PX', lease)
        return { 'OFFER', tostring(now + lease), about.token, unpack(taken) }
      end
    end
  end
end
return { 'WAIT', call('ZRANK', KEYS[2], id) + 1, tostring(arrival), unpack(wake) }
