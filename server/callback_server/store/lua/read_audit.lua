#!lua flags=no-writes
-- Reads entries of a chain of the audit, oldest first, and where the chain begins.
--
-- KEYS: chain
-- ARGV:
---@param after string the id of an entry, '' = from the oldest on
---@param limit number
-- Returns: the start ('' = none), then id, text and HMAC of each entry.
-- @arguments

local found = {redis.call('GET', audit_start_key()) or ''}
local entries = redis.call('XRANGE', audit_key(), after == '' and '-' or '(' .. after, '+', 'COUNT', limit)
for _, each in ipairs(entries) do
  found[#found + 1] = each[1]
  found[#found + 1] = each[2][2]
  found[#found + 1] = each[2][4]
end
return found
