#!lua flags=allow-oom
-- Announces the number of free slots that the workers of a replica have, by activity. Removes announcements of dead
-- replicas.
--
-- KEYS: workers
-- ARGV:
---@param replica string
---@param slots string packed
---@param valid_ms number 0: the replica has no workers any more
-- Returns: OK.
-- @arguments

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
  local announced = redis.call('HGET', KEYS[1], other)
  if other == replica or tonumber(string.match(announced, '^%d+')) <= now then redis.call('HDEL', KEYS[1], other) end
end
if valid_ms > 0 then redis.call('HSET', KEYS[1], replica, string.format('%.0f:', now + valid_ms) .. slots) end
return 'OK'
