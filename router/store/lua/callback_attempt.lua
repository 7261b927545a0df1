-- The customer's number is about to be dialled.
--
-- KEYS 1 callback:<id>
-- ARGV 1 deadline (ms on this clock) 2 owner 3 at most so many attempts 4 the call that is the attempt
--      5 of how many calls the ids are kept: the last ones
-- Result which attempt this is | 0: not ours, under way already, or none left | 'EXPIRED'
-- Keeps  Every attempt is counted before it happens, and none begins while another may be going on.

local now = time_ms()
if now > tonumber(ARGV[1]) then return 'EXPIRED' end

local v = call('HMGET', KEYS[1], 'status', 'owner', 'owned_until', 'attempts', 'calls')
if v[1] ~= 'waiting' or v[2] ~= ARGV[2] or tonumber(v[3]) < now then return 0 end --@attempt
if tonumber(v[4]) >= tonumber(ARGV[3]) then return 0 end
local calls = (v[5] or '') .. ARGV[4] .. '\n'
local _, count = string.gsub(calls, '\n', '')
if count > tonumber(ARGV[5]) then calls = string.gsub(calls, '^[^\n]*\n', '') end
call('HSET', KEYS[1], 'status', 'dialling', 'attempted', now, 'calls', calls)
return call('HINCRBY', KEYS[1], 'attempts', 1)
