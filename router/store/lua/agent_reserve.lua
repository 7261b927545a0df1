-- Reserve agents for a request: a lease that ends by itself. Asked for a call that nothing may be
-- remembered of yet, remember the answer that goes with the reservation in the same breath.
--
-- KEYS 1 ready:<requirement> 2 requirements_used, then 3 to 6, for the strategies that go by rank: the
--      queue's ranks and ranked, ranked_until, ranked_again of the requirement
-- ARGV 1 prefix 2 requirement id 3 queue id 4 strategy 5 lease (ms) 6 count 7 sticky (ms, 0: none)
--      8 wrap-up (ms) 9 how long to remember (ms) 10 deadline (ms on this clock) 11 draw in [0,1)
--      12 request 13 call 14 token 15 caller or '' 16 scope of the memory or '': remember nothing
--      17 and 18 what stands before and after the agent in the answer to remember 19... excluded
-- Result {lease end, token, agent...} | nil: nobody is ready | 'UNREGISTERED' | 'EXPIRED' (no effect)
--        | 'REMEMBERED': the call is remembered (no effect)
-- Keeps  No agent has two live reservations. The same request gets the same agents while its lease
--        lives. An expired deadline reserves nobody.
-- Shared: _requirement

local now, now_us = time_ms()
if now > tonumber(ARGV[10]) then return 'EXPIRED' end

local prefix, call_id, caller, token = ARGV[1], ARGV[13], ARGV[15], ARGV[14]
local request, tried = prefix .. 'request:' .. ARGV[12], prefix .. 'tried:' .. call_id
local memory = ARGV[16] ~= '' and prefix .. 'call_memory:' .. ARGV[16] .. ':' .. call_id
-- Nearly every call is new: then one look shows that there is no such key at all.
local is_new = call('EXISTS', request, tried, memory or request) == 0
if memory and not is_new and call('EXISTS', memory) == 1 then return 'REMEMBERED' end
if not use_requirement(KEYS[2], ARGV[2], now) then return 'UNREGISTERED' end

local function remember(agent)
  if not memory then return end
  call('HSET', memory, 'a:', ARGV[17] .. agent .. ARGV[18])
  call('PEXPIRE', memory, ARGV[9])
end

local lease = tonumber(ARGV[5])
local until_text = string.format('%.0f', now + lease)

-- The usual case in one straight line: a new call, and the longest idle agent has nothing against it.
-- It does what the functions below would do; to have Redis make them costs as much as this.
if is_new and ARGV[4] == 'longest_idle' and ARGV[7] == '0' and not ARGV[19] then --@usual
  local head = call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  local id = head[1]
  if not id or tonumber(head[2]) > now then return nil end
  local key = prefix .. 'agent:' .. id
  local v = call('HMGET', key, 'reqs', 'duty', 'dnd', 'dnd_queues', 'disabled', 'idle_since',
    'activity', 'until', 'phone_lost')
  local at = v[6]
  if v[7] and tonumber(v[8]) > tonumber(at) then at = v[8] end
  if v[1] and v[2] and not (v[3] or v[4] or v[5] or v[9]) and tonumber(at) <= now then
    call('HSET', key, 'activity', 'reserved', 'since', string.format('%.0f', now), 'until', until_text,
      'idle_since', at, 'token', token, 'request', ARGV[12], 'call', call_id, 'queue', ARGV[3],
      'caller', caller, 'wrap_up_ms', ARGV[8])
    for requirement in gmatch(v[1], '[^\n]+') do
      call('ZADD', prefix .. 'ready:' .. requirement, until_text, id)
    end
    call('ZADD', prefix .. 'turn:' .. ARGV[3], now_us, id) --@turn-of-usual
    call('SET', request, token .. '\n' .. until_text .. '\n' .. id .. '\n', 'PX', ARGV[5])
    remember(id)
    return { until_text, token, id }
  end
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
for i = 19, #ARGV do exclude(ARGV[i]) end
if not is_new then
  for _, id in ipairs(call('SMEMBERS', tried)) do exclude(id) end -- at most MAX_TRIED
end

local kind = RANKED[ARGV[4]]
local wish = {
  by = kind and { kind = kind, ranks = KEYS[3], index = KEYS[4], until_ms = KEYS[5], again = KEYS[6] },
  strategy = ARGV[4], count = tonumber(ARGV[6]), draw = tonumber(ARGV[11]),
  sticky = last_agent_of(caller ~= '' and prefix .. 'talked:' .. caller, tonumber(ARGV[7]), now),
  excluded = excluded, excluded_count = excluded_count,
}
local about = {
  token = token, request = ARGV[12], call = call_id, queue = ARGV[3], caller = caller,
  wrap_up_ms = ARGV[8],
  -- Where nobody goes by turns, the time is as good as the next number, and need not be looked up.
  turn = kind ~= 'turn' and ARGV[6] == '1' and now_us,
}
local taken = pick_and_take(prefix, KEYS[1], wish, now, lease, about)
if #taken == 0 then return nil end
remember(taken[1])
return { until_text, token, unpack(taken) }
