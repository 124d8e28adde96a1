#!lua flags=allow-oom
-- Pauses or resumes the deliveries of an activity, in the store's list of paused activities. The list gets a new
-- version, also where it stays the same. A version is a time, so that versions grow even if the store has lost the
-- newest one. The list and the chain of the audit for what belongs to no case are in one slot: the tag of the chain is
-- the name of the list.
--
-- KEYS: chain
-- ARGV:
---@param activity string
---@param is_paused boolean
---@param principal string
---@param reason string
---@param max_paused number how many activities can be paused
---@param audit string see includes/audit.lua, '' = no entry
-- Returns: OK, or SAME (the activity was not paused before, and is not now), with the hash: the version at the field
--          '', and a field for each paused activity, with the pause as JSON ([principal, reason, milliseconds]; 1 if a
--          server of the release before stored it); FULL (as many activities are paused already as can be, and nothing
--          was changed); HEAD_MOVED with the newest item of the audit.
-- @include audit
-- @arguments

local list = string.sub(KEYS[1], 2, -2)
local was_paused = redis.call('HEXISTS', list, activity) == 1
if is_paused and not was_paused and redis.call('HLEN', list) > max_paused then return {'FULL'} end
local word = (is_paused or was_paused) and 'OK' or 'SAME'
if word == 'OK' then
  local appended, newest = append_audit(audit)
  if appended == 'MOVED' then return {'HEAD_MOVED', newest} end
  if appended == 'AGAIN' then return {'OK', redis.call('HGETALL', list)} end
end
local time = redis.call('TIME')
local version = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('HGET', list, '') or 0) + 1)
redis.call('HSET', list, '', string.format('%.0f', version))
if is_paused then
  local ms = time[1] * 1000 + math.floor(time[2] / 1000)
  local pause = '[' .. cjson.encode(principal) .. ',' .. cjson.encode(reason) .. ',' .. string.format('%.0f', ms) .. ']'
  redis.call('HSET', list, activity, pause)
else
  redis.call('HDEL', list, activity)
end
return {word, redis.call('HGETALL', list)}
