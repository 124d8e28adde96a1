#!lua flags=allow-oom
-- Stores or deletes a verification profile of an owner, and the name in the list of its profiles. All profiles of an
-- owner are in one partition, so that they can be counted here. The sizes of profiles and their number are limited.
--
-- KEYS: partition
-- ARGV:
---@param owner string
---@param name string
---@param known string the SHA-1 of the stored profile that this one follows, '' = there is none
---@param content string the profile, '' = it is deleted
---@param max_profiles number how many profiles the owner can have
---@param audit string see includes/audit.lua
-- Returns: OK; CHANGED (another profile, or none, is stored by now); FULL (the owner has as many profiles as it can
--          have); HEAD_MOVED with the newest item of the audit. Only OK changed something.
-- @include audit
-- @arguments

local profile, names = profile_key(owner, name), profiles_key(owner)
local stored, count = redis.call('GET', profile), redis.call('ZCARD', names)
redis.call('XLEN', audit_key())
if is_audited(audit) then return {'OK'} end
if (stored and redis.sha1hex(stored) or '') ~= known then return {'CHANGED'} end
if content ~= '' and not stored and count >= max_profiles then return {'FULL'} end
local appended, newest = append_audit(audit)
if appended == 'MOVED' then return {'HEAD_MOVED', newest} end
if content == '' then
  redis.call('DEL', profile)
  redis.call('ZREM', names, name)
else
  redis.call('SET', profile, content)
  redis.call('ZADD', names, 0, name)
end
return {'OK'}
