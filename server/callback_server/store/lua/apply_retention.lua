#!lua flags=allow-oom
-- Deletes the ended calls and closed cases of a partition that are past their retention. A case waits for its calls:
-- for the end of a call that runs or has a delivery, and for the retention of its calls, which may end a moment after
-- its own. It also waits until the windows of its calls are over, and until its notifications are delivered. An entry
-- without its call or case, or of a damaged case, is kept and reported.
--
-- KEYS: partition
-- ARGV:
---@param limit number
---@param retention_ms number
-- Returns: reports, then the number of calls and the number of cases that were deleted. A sum
--          below the limit means: nothing is left, but perhaps what damaged cases kept from this step.
-- Transition: CLOSED -> nothing
-- @include entries
-- @include labels
-- @include status_lists
-- @include types
-- @arguments

local now = math.floor(now_us() / 1000)
local due = now - retention_ms

local due_calls = redis.call('ZRANGE', ended_key(), '-inf', due, 'BYSCORE', 'LIMIT', 0, limit)
local due_cases = redis.call('ZRANGE', closed_key(), '-inf', due, 'BYSCORE', 'LIMIT', 0, limit - #due_calls)
examine(due_calls, function(call_id)
  local case = load_case(string.sub(call_id, 1, 32))
  if case then check_types(case, {call_id}) end
end)
examine(due_cases, function(case_id)
  local case = load_case(case_id)
  if not case then return end
  check_types(case, {})
  if case.correlation then redis.call('HLEN', correlation_key(case.correlation)) end
  local content = redis.call('GET', content_key(case_id))
  local indexes = content and label_indexes(case.owner, content) or {}
  for _, index in ipairs(indexes) do redis.call('ZCARD', index) end
end)
local calls = without_damaged('ended', ended_key(), due_calls, due)
local cases = without_damaged('closed', closed_key(), due_cases, due)
for _, call_id in ipairs(calls) do
  local case_id = string.sub(call_id, 1, 32)
  local case = call_exists(call_id) and load_case(case_id)
  if case then
    delete_call(case, call_id)
    write_totals(case)
  else
    report_absent('ended', ended_key(), call_id, due)
  end
end

-- Deletes the notifications of a closed case, unless one has still to be delivered.
---@return boolean deleted
local function delete_notifications(case)
  local ids = notifications_of(case)
  for _, call_id in ipairs(ids) do
    local delivery = redis.call('HGET', call_key(call_id), 'delivery')
    if delivery == 'PENDING' or delivery == 'RUNNING' then return false end
  end
  for _, call_id in ipairs(ids) do
    redis.call('ZREM', dead_key(case.owner), call_id)
    redis.call('UNLINK', call_key(call_id))
  end
  return true
end

-- Removes the activity of a deleted case from those of its owner, unless another case has it, and with the last one
-- the owner.
local function forget_activity(case)
  for _, status in ipairs(CASE_STATUSES) do
    if redis.call('EXISTS', index_key(case.owner, status, case.activity)) == 1 then return end
  end
  redis.call('SREM', activities_key(case.owner), case.activity)
  if redis.call('EXISTS', activities_key(case.owner)) == 0 then redis.call('SREM', owners_key(), case.owner) end
end

-- Deletes the pointer of the request id of a deleted case, or what the pointer of its correlation key has of it.
local function forget_pointers(case)
  if not case.correlation then
    if case.pointer then redis.call('UNLINK', pointer_key(case.pointer)) end
    return
  end
  if case.pointer then redis.call('HDEL', correlation_key(case.correlation), case.pointer) end
  local newest = redis.call('HGET', correlation_key(case.correlation), 'case')
  if newest == case.id then redis.call('HDEL', correlation_key(case.correlation), 'case') end
end

-- A case is deleted after its calls, in a later step, so that one script never does more work than the limit allows.
local dropped = 0
for _, case_id in ipairs(cases) do
  local case = load_case(case_id)
  local content = redis.call('GET', content_key(case_id))
  if not case or not content then
    report_absent('closed', closed_key(), case_id, due)
  elseif tonumber(case.unfinished) > 0 then
    -- The case is due again with its last call, and does not block other cases until then: a delivery can take days.
    redis.call('ZADD', closed_key(), now, case_id)
  elseif tonumber(case.repeats_until) > now then
    redis.call('ZADD', closed_key(), case.repeats_until - retention_ms, case_id)
  elseif redis.call('EXISTS', calls_key(case_id)) == 1 then
    -- It waits for the retention of these calls.
  elseif not delete_notifications(case) then
    redis.call('ZADD', closed_key(), now, case_id)
  else
    redis.call('ZREM', index_key(case.owner, case.status, case.activity), case_id)
    forget_activity(case)
    for _, index in ipairs(label_indexes(case.owner, content)) do redis.call('ZREM', index, case_id) end
    redis.call('ZREM', closed_key(), case_id)
    forget_pointers(case)
    redis.call('HDEL', uses_key(case_id, case.version), 'calls') -- none is left
    case.bytes = 0
    count_recorded(case)
    retire_body(case)
    redis.call('UNLINK', case_key(case_id), content_key(case_id), fallback_key(case_id), answers_key(case_id),
      resolution_key(case_id), closed_response_key(case_id))
    dropped = dropped + 1
  end
end
return reply(#calls, dropped)
