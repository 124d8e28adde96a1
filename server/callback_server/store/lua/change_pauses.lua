#!lua flags=allow-oom
-- Changes which activities are paused, if asked to, and gives that a version, be it the same as before; and what a process
-- of the release before has changed meanwhile, which knows of the set alone. Versions are times, so that they grow even if
-- the store has lost the last.
--
-- KEYS: paused
-- ARGV: the key of its version, in the same slot; then nothing, or SADD or SREM and an activity
-- Returns: the version, then the activities that are paused.

local pauses = ARGV[1]

if ARGV[2] then redis.call(ARGV[2], KEYS[1], ARGV[3]) end
local activities = redis.call('SMEMBERS', KEYS[1])
table.sort(activities)
local known = redis.call('HMGET', pauses, 'version', 'activities')
local version, now = known[1] or '0', cmsgpack.pack(activities)
if ARGV[2] or now ~= (known[2] or cmsgpack.pack({})) then
  local time = redis.call('TIME')
  version = string.format('%.0f', math.max(time[1] * 1000000 + time[2], version + 1))
  redis.call('HSET', pauses, 'version', version, 'activities', now)
end
table.insert(activities, 1, version)
return activities
