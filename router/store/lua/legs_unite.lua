-- Legs of one conversation: remember which call ids belong together, and return them.
--
-- KEYS legs:<id> for each id given, the leg's own first
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 lifetime (ms) 4 agent of this leg, '' for none
--      5 '1': the leg begins (rings, is connected), '0': it ends 6 event time (ms, the reporter's clock;
--      '' : now)
--      7... the ids
-- Result all ids that belong together, the given ones first, at most 16 | 'EXPIRED'
-- Keeps  What is united stays united, whichever pair of ids each event knew; bounded by the 16:
--        of an id that more legs share, only the first ones are remembered.
--        The end of an agent's earlier leg, told late, stands alone: it must not end the later leg of
--        the same conversation to the same agent.
-- Shared: _reported

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local MOST = 16
local prefix, lifetime, agent = ARGV[2], ARGV[3], ARGV[4]
local at = reported_ms(tonumber(ARGV[6]) or now, 0, now)
local own = ARGV[7]

local all, known = {}, {}
local function add(id)
  if not known[id] and #all < MOST then
    known[id] = true
    all[#all + 1] = id
  end
end
for i = 7, #ARGV do add(ARGV[i]) end
for _, key in ipairs(KEYS) do
  local linked = call('SMEMBERS', key)
  table.sort(linked)
  for _, id in ipairs(linked) do add(id) end
end
if #all > 1 then
  for _, id in ipairs(all) do
    local key = prefix .. 'legs:' .. id
    -- An id that all legs of a busy line share would gather them all, and never lapse.
    if call('SCARD', key) < MOST then call('SADD', key, unpack(all)) end --@bound
    call('PEXPIRE', key, lifetime)
  end
end
if agent == '' then return all end

-- When a leg to this agent last began; nil: it never did.
local function began(id)
  local since, whose = match(call('GET', prefix .. 'leg:' .. id) or '', '^(%d+) (.*)$')
  return whose == agent and tonumber(since) or nil
end

local mine = began(own) or 0
if ARGV[5] == '1' then
  call('SET', prefix .. 'leg:' .. own, string.format('%.0f', math.max(mine, at)) .. ' ' .. agent,
    'PX', lifetime)
  return all
end
for _, id in ipairs(all) do
  if id ~= own and (began(id) or -1) > mine then return { own } end
end
return all
