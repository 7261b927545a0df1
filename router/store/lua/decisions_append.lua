-- Append entries to the decision log, oldest first.
--
-- KEYS: 1 the log (STREAM)
-- ARGV: 1 how many entries the log keeps, then entries (JSON)
-- Result: how many were appended
-- Keeps true: the log never holds many more than that (trimmed by whole nodes of the stream).

for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[i])
end
return #ARGV - 1
