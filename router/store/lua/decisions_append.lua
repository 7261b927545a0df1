-- Append entries to the decision log, oldest first.
--
-- KEYS: 1 the log (STREAM), 2 how far its entries were written from when they were decided (HASH)
-- ARGV: 1 how many entries the log keeps, 2 milliseconds that need no note, then entries (JSON)
-- Result: how many were appended
-- Keeps true: the log never holds many more than that (trimmed by whole nodes of the stream). No entry
-- in the log was written longer after (`late`) or before (`early`, where clocks differ) its `at_s` than
-- that or the note; a note holds as long as the log has entries up to `late_id` or `early_id` (ms).

local oldest, newest, written
for i = 3, #ARGV do
  written = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[i])
  local at_s = tonumber(string.match(ARGV[i], '^{"at_s":([^,]+)'))
  if at_s then
    oldest, newest = math.min(oldest or at_s, at_s), math.max(newest or at_s, at_s)
  end
end

local function note(what, off_ms, id)
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local known = redis.call('HMGET', KEYS[2], what, what .. '_id')
  local holds = known[1] and tonumber(known[2]) >= tonumber(string.match(first[1], '^%d+'))
  local most = math.max(holds and tonumber(known[1]) or 0, math.ceil(off_ms))
  redis.call('HSET', KEYS[2], what, string.format('%.0f', most), what .. '_id', id)
end

if oldest then
  local id, allowed = string.match(written, '^%d+'), tonumber(ARGV[2])
  if tonumber(id) - oldest * 1000 > allowed then
    note('late', tonumber(id) - oldest * 1000, id)
  end
  if newest * 1000 - tonumber(id) > allowed then
    note('early', newest * 1000 - tonumber(id), id)
  end
end
return #ARGV - 2
