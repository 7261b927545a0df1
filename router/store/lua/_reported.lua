-- The times that a reporter gives, on the reporter's own clock.

local AHEAD_MS = 5000

-- When it happened, and when the last one did, to be compared. What lies ahead of our clock by more than
-- clocks differ is no time: kept, it would make all that follows late. Such reports count as they come.
local function reported_ms(told, last, now)
  if last > now + AHEAD_MS then last = 0 end -- kept before our clock was set back
  if told > now + AHEAD_MS then told = math.max(now, last + 1) end
  return told, last
end

local function is_later(told, last, now)
  local at, than = reported_ms(told, last, now)
  return at > than
end
