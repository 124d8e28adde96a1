#!lua flags=allow-oom
-- Compares what names the body of a version of the response of a case with what is counted. A body of which too little
-- is counted is deleted too early, one of which too many calls are counted is never deleted.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param version string
---@param makes_entries boolean whether to count what is missing
---@param removes_entries boolean whether to count calls no more that are not there
-- Returns: MISSING, EXTRA, WRONG_TYPE, or '' if the numbers are right, or cannot be known.
-- Transition: none.
-- @include uses
-- @arguments

local case = load_case(case_id)
if not pcall(redis.call, 'HLEN', uses_key(case_id, version)) then return 'WRONG_TYPE' end
if redis.call('EXISTS', uses_key(case_id, version)) == 0 then return '' end
-- Without its case, what names a body has a time.
local found = {calls = 0}
if case then found = found_uses(case, version) end
if not found then return '' end

local is_missing, is_extra = false, not case and redis.call('PTTL', uses_key(case_id, version)) == -1
for name, number in pairs(found) do
  local counted = tonumber(redis.call('HGET', uses_key(case_id, version), name) or 0)
  is_missing = is_missing or counted < number
  if counted > number then
    -- An answer expires without a step.
    is_extra = is_extra or name == 'calls'
    if name ~= 'calls' or not removes_entries then found[name] = counted end
  end
end
if (is_extra and removes_entries) or (is_missing and makes_entries) then
  write_uses(case_id, version, found, case and version == case.version)
end
return is_extra and 'EXTRA' or is_missing and 'MISSING' or ''
