#!lua
-- Says how the store is laid out. One that is new, or of the version before, is of this version from now on; it is never
-- lowered, so processes of both versions can start beside each other.
--
-- KEYS: schema
-- ARGV: version, partitions
-- Returns: `version:partitions` as it stands now.

local version, partitions = tonumber(ARGV[1]), ARGV[2]

local stored = redis.call('GET', KEYS[1])
local ours = version .. ':' .. partitions
if not stored or stored == version - 1 .. ':' .. partitions then
  redis.call('SET', KEYS[1], ours)
  return ours
end
return stored
