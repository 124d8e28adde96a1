#!lua flags=no-writes
-- Counts the cases of an owner that are not closed, in a partition.
--
-- KEYS: partition
-- ARGV:
---@param owner string
-- Returns: the number.
-- @include status_lists
-- @arguments

local open = 0
for _, activity in ipairs(redis.call('SMEMBERS', activities_key(owner))) do
  for _, status in ipairs(NOT_CLOSED) do open = open + redis.call('ZCARD', index_key(owner, status, activity)) end
end
return {open}
