-- A freed agent takes the call that stands first among those the agent can serve.
--
-- KEYS 1 agent
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 agent id 4 token 5 lease (ms) 6 wrap-up (ms)
-- Result {call, lease end, token} | nil: nobody waits for this agent, or the agent is not free | 'EXPIRED'
-- Keeps  No agent is offered two calls at once, no call two agents this way. A call whose time to ask
--        for less has come does so first.
-- Shared: _agent _pick _line

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local prefix, id = ARGV[2], ARGV[3]
relax_due_calls(prefix, 16, now)
local a = read_agent(KEYS[1])
if not a or next_state(state_of(a, now), 'reserve') ~= 'reserved' then return nil end
for _ = 1, 8 do -- records of lost calls are cleared away on the way
  local waiting = first_call(prefix, id, a, {}, now)
  if not waiting then return nil end
  local key = prefix .. 'waiting_call:' .. waiting
  local v = call('HMGET', key, 'queue', 'requirement', 'caller')
  if v[1] then
    local lease = tonumber(ARGV[5])
    local about = {
      token = ARGV[4], request = waiting, call = waiting, queue = v[1], caller = v[3],
      wrap_up_ms = ARGV[6],
    }
    leave_line(prefix, waiting, v[1], v[2])
    take(prefix, id, now, lease, about)
    call('SET', prefix .. 'request:' .. waiting, ARGV[4] .. '\n' .. (now + lease) .. '\n' .. id .. '\n',
      'PX', lease)
    call('PUBLISH', prefix .. 'offered', waiting) -- to whoever has the caller on the line
    return { waiting, tostring(now + lease), ARGV[4] }
  end
  for requirement in gmatch(a.reqs, '[^\n]+') do
    leave_line(prefix, waiting, match(requirement, '^[^|]*'), requirement)
  end
end
return nil
