-- Requirements and their use.

local USED_EVERY_MS = 3600000

-- Whether a requirement is completely registered; remembers its use, to the hour.
local function use_requirement(used_key, requirement, now)
  local used = call('HGET', used_key, requirement)
  if not used then return false end
  if now - used > USED_EVERY_MS then call('HSET', used_key, requirement, now) end
  return true
end
