-- What every script has: short names and the time. Put before each by plain concatenation; what else
-- a script needs it names in a line `-- Shared:` of its header.
--
-- Keys that a script finds out only on the way (the record of the agent it picks) are made from the
-- tenant's prefix, which carries the hash tag: they live in the same slot as the declared ones.

local call = redis.call
local find, match, gmatch = string.find, string.match, string.gmatch

-- Now in milliseconds, and in microseconds.
local function time_ms()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
end
