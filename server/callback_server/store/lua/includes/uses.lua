-- What names the body of a version of the response of a case, for a repair. It is counted again by what is stored:
-- calls, and answers that are kept for a while. Tombstones, and answers that are kept for a minute, are not looked for.
-- @include bodies

-- How many calls, and how many answers, it looks at: each about a millisecond.
local MAX_COUNTED = 1000

-- Returns the version whose body the kept answer to a call has, if it is that of the response of the case.
local function version_of_answer(call_id)
  local version = redis.pcall('HGET', call_key(call_id), 'answer_of')
  return type(version) == 'string' and redis.call('EXISTS', answer_key(call_id)) == 1 and version
end

-- Returns the calls whose answers are in the list of a case.
local function listed_answers(case)
  local members = redis.call('ZRANGE', answers_key(case.id), 0, MAX_COUNTED)
  for i, member in ipairs(members) do members[i] = string.match(member, '^[^:]+') end
  return members
end

-- Returns the fields of the hash of the uses, as numbers; nil if the case has too many calls or answers.
local function found_uses(case, version)
  local calls, listed = redis.call('ZRANGE', calls_key(case.id), 0, MAX_COUNTED), listed_answers(case)
  if #calls > MAX_COUNTED or #listed > MAX_COUNTED then return nil end
  local found = {calls = 0, answers = 0, answers_until = 0, ['until'] = 0}
  for _, call_id in ipairs(calls) do
    if redis.pcall('HGET', call_key(call_id), 'body_of') == version then found.calls = found.calls + 1 end
  end
  local is_listed = {}
  for _, call_id in ipairs(listed) do
    is_listed[call_id] = true
    if version_of_answer(call_id) == version then
      found.answers = found.answers + 1
      found.answers_until = math.max(found.answers_until, redis.call('PEXPIRETIME', answer_key(call_id)))
    end
  end
  if case.call and not is_listed[case.call] and version_of_answer(case.call) == version then
    found['until'] = redis.call('PEXPIRETIME', answer_key(case.call))
  end
  return found
end

-- Writes the fields of the hash of the uses, and keeps the body for as long as they say.
local function write_uses(case_id, version, found, is_current)
  local fields = {}
  for name, number in pairs(found) do
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%.0f', number)
  end
  redis.call('HSET', uses_key(case_id, version), unpack(fields))
  if not is_current then keep_former_body(case_id, version) end
end
