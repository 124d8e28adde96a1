#!lua
-- Returns the layout of the store. A new store, and a store of the version before, get this version. A version is never
-- lowered, so that processes of both versions can run side by side.
--
-- KEYS: schema
-- ARGV:
---@param version number
---@param partitions number
-- Returns: `version:partitions` as it is now.
-- @arguments

local stored = redis.call('GET', KEYS[1])
local ours = version .. ':' .. partitions
if not stored or (version > 1 and stored == version - 1 .. ':' .. partitions) then
  redis.call('SET', KEYS[1], ours)
  return ours
end
return stored
