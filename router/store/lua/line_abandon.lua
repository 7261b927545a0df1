-- A call of ours leaves the line, and whoever is reserved for it and not talking is free again.
--
-- KEYS 1 waiting_call:<call> 2 tried:<call> 3 request:<call>
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 call 4 keep the place (ms, 0: not)
--      5 for whom it is kept ('': the caller it stood in line with)
-- Result {agents given back, arrival (ms) or ''} | 'EXPIRED'
-- Keeps  No agent stays reserved for a caller who has left, also when a freed agent took the call at
--        the very moment it left. A confirmed call stays.
-- Shared: _agent _ends _pick _line

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, count = ARGV[2], 0
local given = given_before(call('GET', KEYS[3])) or {}
for i = 3, #given do
  local a = read_agent(prefix .. 'agent:' .. given[i])
  if a and a.token == given[2] and next_state(state_of(a, now), 'release') then
    free(prefix, given[i], a, a.idle_since, now) --@give-back
    count = count + 1
  end
end
local v = call('HMGET', KEYS[1], 'queue', 'requirement', 'arrival', 'caller')
if not v[1] then return { count, '' } end
leave_line(prefix, ARGV[3], v[1], v[2])
call('DEL', KEYS[1], KEYS[2])
local whom = ARGV[5] ~= '' and ARGV[5] or v[4]
if tonumber(ARGV[4]) > 0 and whom and whom ~= '' then
  call('SET', prefix .. 'kept_place:' .. v[1] .. ':' .. whom, v[3], 'PX', ARGV[4])
end
return { count, v[3] }
