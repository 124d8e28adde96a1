#!lua
-- Stores what a replica has done in a minute so far. It replaces what that replica stored for this minute before.
--
-- KEYS: statistics
-- ARGV:
---@param replica string
---@param minute string since the epoch
---@param counts string packed
---@param keep_ms number after the last change
-- Returns: OK.
-- @arguments

local stored_in = KEYS[1] .. ':' .. minute
redis.call('HSET', stored_in, replica, counts)
redis.call('PEXPIRE', stored_in, keep_ms)
return 'OK'
