#!lua flags=no-writes
-- Returns what all replicas have done in some minutes.
--
-- KEYS: statistics
-- ARGV:
---@param first number in minutes since the epoch
---@param last number in minutes since the epoch
-- Returns: the minute, and the counts of one replica (packed), in turn.
-- @arguments

local found = {}
for minute = first, last do
  for _, counts in ipairs(redis.call('HVALS', KEYS[1] .. ':' .. string.format('%.0f', minute))) do
    found[#found + 1] = minute
    found[#found + 1] = counts
  end
end
return found
