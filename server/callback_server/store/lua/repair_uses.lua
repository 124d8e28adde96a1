#!lua flags=allow-oom
-- Compares how many calls name the body of a version of the response of a case with the number that is counted. A body
-- of which too few are counted is deleted too early, one of which too many are counted is never deleted.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param version string
---@param makes_entries boolean whether to count those that are missing
---@param removes_entries boolean whether to count those no more that are not there
-- Returns: MISSING, EXTRA, or '' if the number is right, or cannot be known.
-- Transition: none.
-- @include uses
-- @arguments

local case = load_case(case_id)
local is_readable, counted = pcall(redis.call, 'HGET', uses_key(case_id, version), 'calls')
if not is_readable or redis.call('EXISTS', uses_key(case_id, version)) == 0 then return '' end
counted = tonumber(counted or 0)
local naming = 0
if case then naming = naming_calls(case_id, version) end
if not naming then return '' end
-- Without its case, what names a body has a time.
local is_extra = naming < counted or (not case and redis.call('PTTL', uses_key(case_id, version)) == -1)
if naming == counted and not is_extra then return '' end
if (is_extra and removes_entries) or (not is_extra and makes_entries) then
  redis.call('HSET', uses_key(case_id, version), 'calls', naming)
  if not case or version ~= case.version then keep_former_body(case_id, version) end
end
return is_extra and 'EXTRA' or 'MISSING'
