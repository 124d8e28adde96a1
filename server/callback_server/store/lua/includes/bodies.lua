-- The body of the response of a case is stored once for each version, if it is stored apart. Calls and the answers that
-- are kept for their repeats name the version. The hash of its uses has:
--
--   calls          how many calls name it
--   answers        how many answers in the list of the case name it
--   answers_until  when the last window of these is over, in milliseconds
--   until          until when others name it: tombstones, and answers that are in no list
--
-- A body that was replaced, or whose case is deleted, is kept as long as one of these holds. An answer expires without
-- a step, so `answers` may be too high: it holds until `answers_until` at the latest.
-- @include partition

-- Returns what a command that reads a string says of the body of a version of the response of a case. GET says nil of
-- one that is not kept.
---@param current string|nil the version that the case has now
local function read_body(command, case_id, current, version)
  local key = version == current and body_key(case_id) or former_body_key(case_id, version)
  local found = redis.pcall(command, key)
  return type(found) ~= 'table' and found or nil
end

-- Keeps a body that was replaced for as long as it is named, or deletes it.
local function keep_former_body(case_id, version)
  local uses = redis.call('HMGET', uses_key(case_id, version), 'calls', 'answers', 'answers_until', 'until')
  if tonumber(uses[1] or 0) > 0 then
    redis.call('PERSIST', former_body_key(case_id, version))
    redis.call('PERSIST', uses_key(case_id, version))
    return
  end
  local until_ms = tonumber(uses[4] or 0)
  if tonumber(uses[2] or 0) > 0 then until_ms = math.max(until_ms, tonumber(uses[3])) end
  if until_ms <= math.floor(now_us() / 1000) then
    redis.call('UNLINK', former_body_key(case_id, version), uses_key(case_id, version))
  else
    redis.call('PEXPIREAT', former_body_key(case_id, version), until_ms)
    redis.call('PEXPIREAT', uses_key(case_id, version), until_ms)
  end
end

-- Counts a call or a listed answer that names a body, or (-1) names it no more.
---@param kind string calls or answers
---@return boolean counted: not if the key of the uses has a wrong type
local function count_use(case, version, kind, number)
  local counted = redis.pcall('HINCRBY', uses_key(case.id, version), kind, number)
  if type(counted) == 'table' then return false end
  if version ~= case.version then keep_former_body(case.id, version) end
  return true
end

-- Extends one of the times for which a body is named.
---@param kind string answers_until or until
local function name_until(case, version, kind, until_ms)
  local known = redis.pcall('HGET', uses_key(case.id, version), kind)
  if type(known) == 'table' or tonumber(known or 0) >= until_ms then return end
  redis.call('HSET', uses_key(case.id, version), kind, string.format('%.0f', until_ms))
end

-- Ends the use of a body by a call whose response is erased or replaced.
local function release_body(case, call_id)
  local version = redis.call('HGET', call_key(call_id), 'body_of')
  if not version then return end
  redis.call('HDEL', call_key(call_id), 'body_of')
  count_use(case, version, 'calls', -1)
end

-- Ends the use of a body by a listed answer that is dropped.
local function release_answer(case, call_id)
  local version = redis.pcall('HGET', call_key(call_id), 'answer_of')
  if type(version) ~= 'string' then return end
  redis.call('HDEL', call_key(call_id), 'answer_of')
  count_use(case, version, 'answers', -1)
end

-- Takes the body from the response of a case that is replaced or deleted. What names it finds it under its version.
local function retire_body(case)
  if redis.call('EXISTS', body_key(case.id)) == 0 then return end
  if redis.call('EXISTS', uses_key(case.id, case.version)) == 0 then
    redis.call('UNLINK', body_key(case.id))
    return
  end
  redis.call('RENAME', body_key(case.id), former_body_key(case.id, case.version))
  keep_former_body(case.id, case.version)
end
