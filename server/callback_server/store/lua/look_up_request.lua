#!lua flags=no-writes
-- Looks up whether a claim would refuse a request whatever its body is, before the body is read. It may let a request
-- pass that the claim then refuses, never the other way round: it applies no timeout, and the body may tell a repeat.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param state_hash_half string raw: the second half of the state's SHA-256
---@param parameter string
---@param profile string the verification profile that was passed, '' = none
---@param calls_per_minute number of a case; 0 = any number
---@param limited_owners string[] as for claim_call
-- Returns: UNKNOWN, FEATURE, CLOSED, BUSY, VERIFY or LIMITED as claim_call does; else OPEN.
-- @include known_features
-- @include life_constants
-- @include partition
-- @include rate_limit
-- @include settings
-- @arguments

local case = load_case(case_id)
if not case or case.sha ~= state_hash_half or case.parameter ~= parameter then return {'UNKNOWN'} end
if unknown_feature(case) then return {'FEATURE', unknown_feature(case)} end
if case.profile and case.profile ~= profile then
  local settings = settings_of(redis.call('GET', content_key(case_id)))
  return {'VERIFY', case.profile, settings[SETTING_ALTERNATIVE_DOMAIN], case.owner}
end

local now = math.floor(now_us() / 1000)
local can_repeat = tonumber(case.repeats_until) > now
  or (tonumber(case.unfinished) > 0 and (case.profile or tonumber(case.repeat_window) > 0))
if case.status == 'CLOSED' then return (can_repeat or case.closed_response) and {'OPEN'} or {'CLOSED', case.reason} end
-- A guard comes before what follows, and a case that expires now is closed by the claim.
if case.guard or (case.expires and tonumber(case.expires) <= now) then return {'OPEN'} end
if case.status == IN_PROGRESS then
  local lease = tonumber(redis.call('ZSCORE', leases_key(), case.call)) -- without a lease: its delivery waits
  return {(not lease or lease > now) and not can_repeat and 'BUSY' or 'OPEN'}
end
local wait_ms, limit = limited_owner(case, limited_owners_first, limited_owners_last)
if limit then return {'LIMITED', wait_ms, limit, case.owner} end
if calls_per_minute > 0 then
  local _, retry_after_ms = next_arrival(case, calls_per_minute)
  if retry_after_ms > 0 then return {'LIMITED', retry_after_ms, 'max_calls_per_minute_per_case', case.owner} end
end
return {'OPEN'}
