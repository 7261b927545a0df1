-- Reserve agents for a request: a lease that ends by itself.
--
-- KEYS 1 ready:<requirement> 2 requirements_used 3 request:<request> 4 tried:<call>
--      5... ranks of the queue, then ranked, ranked_until, ranked_again of the requirement (for the
--      strategies that go by rank), then talked:<caller> (when the caller is known), then a key
--      whose presence forbids it (when ARGV 15 is 'unless')
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 requirement id 4 queue id 5 request 6 call 7 token
--      8 lease (ms) 9 strategy 10 count 11 draw in [0,1) 12 sticky (ms, 0: none) 13 wrap-up (ms)
--      14 caller or '' 15 'unless' or '' 16... excluded agents
-- Result {lease end, token, agent...} | nil: nobody is ready | 'UNREGISTERED' | 'EXPIRED' (no effect)
--        | 'REMEMBERED': the forbidding key is there (no effect)
-- Keeps  No agent has two live reservations. The same request gets the same agents while its lease
--        lives. An expired deadline reserves nobody.
-- Shared: _agent _pick

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local forbidding = ARGV[15] == 'unless' and KEYS[#KEYS]
local talked = forbidding and #KEYS - 1 or #KEYS
-- Nearly every call is new: then one look shows that there is no such key at all.
local is_new = call('EXISTS', KEYS[3], KEYS[4], forbidding or KEYS[3]) == 0
if forbidding and not is_new and call('EXISTS', forbidding) == 1 then return 'REMEMBERED' end
if not use_requirement(KEYS[2], ARGV[3], now) then return 'UNREGISTERED' end
local before = not is_new and given_before(call('GET', KEYS[3]))
if before then return before end

local excluded, excluded_count = {}, 0
local function exclude(id)
  if not excluded[id] then excluded[id], excluded_count = true, excluded_count + 1 end
end
for i = 16, #ARGV do exclude(ARGV[i]) end
if not is_new then
  for _, id in ipairs(call('SMEMBERS', KEYS[4])) do exclude(id) end -- at most MAX_TRIED
end

local kind = RANKED[ARGV[9]]
local wish = {
  by = kind and { kind = kind, ranks = KEYS[5], index = KEYS[6], until_ms = KEYS[7], again = KEYS[8] },
  strategy = ARGV[9], count = tonumber(ARGV[10]), draw = tonumber(ARGV[11]),
  sticky = last_agent_of(ARGV[14] ~= '' and KEYS[talked], tonumber(ARGV[12]), now),
  excluded = excluded, excluded_count = excluded_count,
}
local lease = tonumber(ARGV[8])
local about = {
  token = ARGV[7], request = ARGV[5], call = ARGV[6], queue = ARGV[4], caller = ARGV[14],
  wrap_up_ms = ARGV[13],
}
local taken = pick_and_take(ARGV[2], KEYS[1], wish, now, lease, about)
if #taken == 0 then return nil end
return { tostring(now + lease), ARGV[7], unpack(taken) }
