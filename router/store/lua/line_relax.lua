-- Let the waiting calls whose time has come ask for less.
--
-- KEYS 1 relax_due
-- ARGV 1 deadline (ms on this clock) 2 prefix 3 at most so many calls
-- Result their ids: they should ask offer_or_wait again | 'EXPIRED'
-- Keeps  Relaxing changes what a call asks for, never its place.
-- Shared: _agent _pick _line

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

return relax_due_calls(ARGV[2], math.min(tonumber(ARGV[3]), 100), now)
