#!lua
-- Stores what a replica has done in a minute so far. It replaces what that replica stored for this minute before.
--
-- KEYS: statistics
-- ARGV: replica, minute (since the epoch), counts (packed), keep_ms (after the last change)
-- Returns: OK.
-- @arguments

local stored_in = KEYS[1] .. ':' .. minute
redis.call('HSET', stored_in, replica, counts)
redis.call('PEXPIRE', stored_in, keep_ms)
return 'OK'
