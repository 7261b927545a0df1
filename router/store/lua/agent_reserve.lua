-- Reserve agents for a request, or for several that want the same: leases that end by themselves. Asked
-- for a call that nothing may be remembered of yet, remember the answer that goes with the reservation
-- in the same breath.
--
-- KEYS 1 ready:<requirement> 2 requirements_used, then 3 to 6, for the strategies that go by rank: the
--      queue's ranks and ranked, ranked_until, ranked_again of the requirement
-- ARGV 1 prefix 2 requirement id 3 queue id 4 strategy 5 lease (ms) 6 count 7 sticky (ms, 0: none)
--      8 wrap-up (ms) 9 how long to remember (ms) 10 how many are excluded, and these; then nine words
--      for each request: deadline (ms on this clock), draw in [0,1), request, call, token, caller or '',
--      scope of the memory or '': remember nothing, what stands before and after the agent in the
--      answer to remember
-- Result For one request {lease end, token, agent...} | nil: nobody is ready | 'UNREGISTERED'
--        | 'EXPIRED' (no effect) | 'REMEMBERED': the call is remembered (no effect). For several
--        'UNREGISTERED' (no effect) | a list of such results, where 0 is: ask for this one alone (no effect)
-- Keeps  No agent has two live reservations. The same request gets the same agents while its lease
--        lives. An expired deadline reserves nobody. Who stands before another here gets the agent who
--        is idle longer.
-- Shared: _requirement

local now, now_us = time_ms()
local prefix, lease, EACH = ARGV[1], tonumber(ARGV[5]), 9
local first = 11 + ARGV[10]
local is_alone = #ARGV < first + EACH
local now_text, until_text = string.format('%.0f', now), string.format('%.0f', now + lease)
local is_new, is_used

-- The usual case in one straight line: a new call, and the longest idle agent has nothing against it.
-- It does what the functions below would do; to have Redis make them costs as much as this.
local is_simple = ARGV[4] == 'longest_idle' and ARGV[7] == '0' and ARGV[10] == '0' --@usual
local results, heads, head, ready_of, turns = {}, nil, 1, {}, {}
for i = first, #ARGV, EACH do
  local result, call_id = 0, ARGV[i + 3]
  local request, tried = prefix .. 'request:' .. ARGV[i + 2], prefix .. 'tried:' .. call_id
  local scope = ARGV[i + 6]
  local memory = scope ~= '' and prefix .. 'call_memory:' .. scope .. ':' .. call_id
  local answer = scope ~= '' and prefix .. 'call_answer:' .. scope .. ':' .. call_id
  -- Nearly every call is new: then one look shows that there is no such key at all.
  if now > tonumber(ARGV[i]) then
    result = 'EXPIRED'
  else
    is_new = call('EXISTS', request, tried, memory or request, answer or request) == 0
    if is_simple and is_new then
      is_used = is_used or use_requirement(KEYS[2], ARGV[2], now)
      if not is_used then return 'UNREGISTERED' end
      heads = heads or call('ZRANGE', KEYS[1], 0, (#ARGV - first - EACH + 1) / EACH, 'WITHSCORES')
      local id = heads[head]
      if id and tonumber(heads[head + 1]) <= now then
        head = head + 2
        local key = prefix .. 'agent:' .. id
        local v = call('HMGET', key, 'reqs', 'duty', 'dnd', 'dnd_queues', 'disabled', 'idle_since',
          'activity', 'until', 'phone_lost')
        local at = v[6]
        if v[7] and tonumber(v[8]) > tonumber(at) then at = v[8] end
        if v[1] and v[2] and not (v[3] or v[4] or v[5] or v[9]) and tonumber(at) <= now then
          local token = ARGV[i + 4]
          call('HSET', key, 'activity', 'reserved', 'since', now_text, 'until', until_text,
            'idle_since', at, 'token', token, 'request', ARGV[i + 2], 'call', call_id,
            'queue', ARGV[3], 'caller', ARGV[i + 5], 'wrap_up_ms', ARGV[8])
          for requirement in gmatch(v[1], '[^\n]+') do
            local places = ready_of[requirement] or {}
            ready_of[requirement] = places
            places[#places + 1] = until_text
            places[#places + 1] = id
          end
          turns[#turns + 1] = now_us + #turns
          turns[#turns + 1] = id
          call('SET', request, token .. '\n' .. until_text .. '\n' .. id .. '\n', 'PX', ARGV[5])
          if answer then
            call('SET', answer, ARGV[i + 7] .. id .. ARGV[i + 8], 'PX', ARGV[9])
          end
          result = { until_text, token, id }
        end
      else -- whoever was passed over above is for those who ask alone
        result = false
      end
    end
  end
  results[#results + 1] = result
end
for requirement, places in pairs(ready_of) do
  call('ZADD', prefix .. 'ready:' .. requirement, unpack(places))
end
if #turns > 0 then call('ZADD', prefix .. 'turn:' .. ARGV[3], unpack(turns)) end --@turn-of-usual
if not is_alone then return results end
if results[1] ~= 0 then return results[1] end

local call_id, token, caller = ARGV[first + 3], ARGV[first + 4], ARGV[first + 5]
local request, tried = prefix .. 'request:' .. ARGV[first + 2], prefix .. 'tried:' .. call_id
local scope = ARGV[first + 6]
local memory = scope ~= '' and prefix .. 'call_memory:' .. scope .. ':' .. call_id
local answer = scope ~= '' and prefix .. 'call_answer:' .. scope .. ':' .. call_id
if memory and not is_new and call('EXISTS', memory, answer) > 0 then return 'REMEMBERED' end
if not is_used and not use_requirement(KEYS[2], ARGV[2], now) then return 'UNREGISTERED' end

local function remember(agent)
  if not answer then return end
  call('SET', answer, ARGV[first + 7] .. agent .. ARGV[first + 8], 'PX', ARGV[9])
end

-- Shared: _agent _pick

local before = not is_new and given_before(call('GET', request))
if before then
  remember(before[3])
  return before
end

local excluded, excluded_count = {}, 0
local function exclude(id)
  if not excluded[id] then excluded[id], excluded_count = true, excluded_count + 1 end
end
for i = 11, first - 1 do exclude(ARGV[i]) end
if not is_new then
  for _, id in ipairs(call('SMEMBERS', tried)) do exclude(id) end -- at most MAX_TRIED
end

local kind = RANKED[ARGV[4]]
local wish = {
  by = kind and { kind = kind, ranks = KEYS[3], index = KEYS[4], until_ms = KEYS[5], again = KEYS[6] },
  strategy = ARGV[4], count = tonumber(ARGV[6]), draw = tonumber(ARGV[first + 1]),
  sticky = last_agent_of(caller ~= '' and prefix .. 'talked:' .. caller, tonumber(ARGV[7]), now),
  excluded = excluded, excluded_count = excluded_count,
}
local about = {
  token = token, request = ARGV[first + 2], call = call_id, queue = ARGV[3], caller = caller,
  wrap_up_ms = ARGV[8],
  -- Where nobody goes by turns, the time is as good as the next number, and need not be looked up.
  turn = kind ~= 'turn' and ARGV[6] == '1' and now_us,
}
local taken = pick_and_take(prefix, KEYS[1], wish, now, lease, about)
if #taken == 0 then return nil end
remember(taken[1])
return { until_text, token, unpack(taken) }
