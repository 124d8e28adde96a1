#!lua flags=no-writes
-- Reads entries of a chain of the audit, oldest first, and where the chain begins. A key of a wrong type is what no
-- server has made, which its reader finds: a start, or an item, that is malformed.
--
-- KEYS: chain
-- ARGV:
---@param after string the id of an entry, '' = from the oldest on
---@param limit number
-- Returns: the start ('' = none); the items; the newest item in a list (empty = none); how many items the chain has.
-- @arguments

local start = redis.pcall('GET', audit_start_key()) or ''
if type(start) == 'table' then start = '?' end
local kind = redis.call('TYPE', audit_key()).ok
if kind ~= 'stream' and kind ~= 'none' then return {start, {{'0-0', {}}}, {{'0-0', {}}}, 1} end
local items = redis.call('XRANGE', audit_key(), after == '' and '-' or '(' .. after, '+', 'COUNT', limit)
local newest = redis.call('XREVRANGE', audit_key(), '+', '-', 'COUNT', 1)
return {start, items, newest, redis.call('XLEN', audit_key())}
