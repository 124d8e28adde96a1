#!lua flags=allow-oom
-- Pauses or resumes the deliveries of an activity, in the store's list of paused activities. The list gets a new
-- version, also where it stays the same. A version is a time, so that versions grow even if the store has lost the
-- newest one.
--
-- KEYS: paused
-- ARGV: activity, is_paused, principal, reason, max_paused (how many activities can be paused)
-- Returns: the hash: the version at the field '', and a field for each paused activity, with the pause as JSON
--          ([principal, reason, milliseconds]; 1 if a server of the release before stored it). Nothing: as many
--          activities are paused already as can be, and nothing was changed.
-- @arguments

if is_paused and redis.call('HLEN', KEYS[1]) > max_paused and redis.call('HEXISTS', KEYS[1], activity) == 0 then
  return {}
end
local time = redis.call('TIME')
local version = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('HGET', KEYS[1], '') or 0) + 1)
redis.call('HSET', KEYS[1], '', string.format('%.0f', version))
if is_paused then
  local ms = time[1] * 1000 + math.floor(time[2] / 1000)
  local pause = '[' .. cjson.encode(principal) .. ',' .. cjson.encode(reason) .. ',' .. string.format('%.0f', ms) .. ']'
  redis.call('HSET', KEYS[1], activity, pause)
else
  redis.call('HDEL', KEYS[1], activity)
end
return redis.call('HGETALL', KEYS[1])
