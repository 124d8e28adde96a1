-- How many calls of a case name the body of a version, for a repair.
-- @include bodies

-- How many calls it looks at: about a millisecond.
local MAX_COUNTED = 1000

-- Returns how many calls name it; nil if the case has too many calls.
local function naming_calls(case_id, version)
  local calls = redis.call('ZRANGE', calls_key(case_id), 0, MAX_COUNTED)
  if #calls > MAX_COUNTED then return nil end
  local naming = 0
  for _, call_id in ipairs(calls) do
    if redis.pcall('HGET', call_key(call_id), 'body_of') == version then naming = naming + 1 end
  end
  return naming
end
