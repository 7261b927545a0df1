-- Take back whatever a request reserved, when its outcome was unknown to who asked.
--
-- KEYS 1 request:<request>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 token
-- Result how many agents are free again, with their old places | 'EXPIRED'
-- Keeps  Another token's reservation and a confirmed call stay.
-- Shared: _agent _ends _pick

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local given = given_before(call('GET', KEYS[1]))
if not given or given[2] ~= ARGV[3] then return 0 end
local count = 0
for i = 3, #given do
  local a = read_agent(ARGV[2] .. 'agent:' .. given[i])
  if a and a.token == ARGV[3] and next_state(state_of(a, now), 'release') then
    free(ARGV[2], given[i], a, a.idle_since, now)
    count = count + 1
  end
end
return count
