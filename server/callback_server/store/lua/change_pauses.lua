#!lua flags=allow-oom
-- Pauses or resumes the deliveries of an activity, in the store's list of paused activities. The list gets a new
-- version, also where it stays the same. A version is a time, so that versions grow even if the store has lost the
-- newest one.
--
-- KEYS: paused
-- ARGV: activity, is_paused
-- Returns: the hash: the version at the field '', and a field for each paused activity.
-- @arguments

local time = redis.call('TIME')
local version = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('HGET', KEYS[1], '') or 0) + 1)
redis.call('HSET', KEYS[1], '', string.format('%.0f', version))
if is_paused then redis.call('HSET', KEYS[1], activity, '1') else redis.call('HDEL', KEYS[1], activity) end
return redis.call('HGETALL', KEYS[1])
