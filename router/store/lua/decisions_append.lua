-- Append entries to the decision log, oldest first.
--
-- KEYS: 1 the log (STREAM), 2 how far its entries were written from when they were decided (HASH)
-- ARGV: 1 how many entries the log keeps, 2 milliseconds that need no note, 3 and 4 when the oldest and
--       the newest of these entries were decided (ms since the epoch), then entries (JSON)
-- Result: how many were appended
-- Keeps true: the log never holds many more than that (trimmed by whole nodes of the stream). No entry
-- in the log was written longer after (`late`) or before (`early`, where clocks differ) its `at_s` than
-- that or the note; a note holds as long as the log has entries up to `late_id` or `early_id` (ms).

local written
for i = 5, #ARGV do
  written = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[i])
end

local function note(what, off_ms, id)
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local known = redis.call('HMGET', KEYS[2], what, what .. '_id')
  local holds = known[1] and tonumber(known[2]) >= tonumber(string.match(first[1], '^%d+'))
  local most = math.max(holds and tonumber(known[1]) or 0, math.ceil(off_ms))
  redis.call('HSET', KEYS[2], what, string.format('%.0f', most), what .. '_id', id)
end

local id, allowed = string.match(written, '^%d+'), tonumber(ARGV[2])
local late, early = tonumber(id) - ARGV[3], ARGV[4] - tonumber(id)
if late > allowed then note('late', late, id) end
if early > allowed then note('early', early, id) end
return #ARGV - 4
