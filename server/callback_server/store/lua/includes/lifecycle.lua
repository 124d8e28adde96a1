-- Functions on a case and its calls that several transitions share. A transition reads everything, decides, and only
-- then writes: Lua has no rollback.
-- @include life_functions
-- @include life_constants
-- @include partition
-- @include settings

-- How long the tombstone of a deleted call is kept: longer than a claim or an end is sent again (310 s), in
-- milliseconds.
local TOMBSTONE_MS = 330000

-- How long an answer is kept for a caller that was told to wait for it, in milliseconds.
local WAITED_MS = 24 * 3600 * 1000

-- The timeouts that this execution has applied, whatever the script was asked for: leases and hold times that ended,
-- cases that expired; and the calls that it has ended with the answer of their case, or while repeats wait with them.
-- They stand before the answer, so that each is reported exactly once.
local TIMEOUTS = {}

---@return table reply the applied timeouts, the number of the newest event, then the answer
local function reply(...) return {TIMEOUTS, step_number(), ...} end

-- Keeps an entry whose case, its content or its call is not there, and reports it: its absence is a fault, and the data
-- may come back. The entry is due again after a minute, so that it does not block the others.
---@param list string name of the list, as in the table of keys
---@param due number at which score an entry is due now
local function report_absent(list, key, member, due)
  redis.call('ZADD', key, due + 60000, member)
  TIMEOUTS[#TIMEOUTS + 1] = {'ENTRY_WITHOUT_CASE', member, list}
end

local damaged = {} -- the cases of which a key has a wrong type, with the error

-- Looks at the keys of entries whose time has come, before the first write. A case of which a key has a wrong type is
-- left as it is, so that it stops no other.
---@param check function of the member of an entry: raises an error if a key has a wrong type
local function examine(members, check)
  for _, member in ipairs(members) do
    local is_sound, problem = pcall(check, member)
    if not is_sound then
      damaged[string.sub(member, 1, 32)] = type(problem) == 'table' and problem.err or tostring(problem)
    end
  end
end

-- Keeps and reports the entries of damaged cases. As without a case, they are due again after a minute.
---@param list string name of the list, as in the table of keys
---@param due number at which score an entry is due now
---@return table members the others, in order
local function without_damaged(list, key, members, due)
  local sound = {}
  for _, member in ipairs(members) do
    local problem = damaged[string.sub(member, 1, 32)]
    if problem then
      redis.call('ZADD', key, due + 60000, member)
      TIMEOUTS[#TIMEOUTS + 1] = {'WRONG_TYPE', member, list, problem}
    else
      sound[#sound + 1] = member
    end
  end
  return sound
end

---@return boolean whether a call is there, and not only its tombstone
local function call_exists(call_id) return redis.call('HEXISTS', call_key(call_id), 'request') == 1 end

-- Sets the status of a case, the index that goes with it, and other fields of the case.
local function set_case_status(case, status, ...)
  redis.call('ZREM', index_key(case.owner, case.status, case.activity), case.id)
  redis.call('ZADD', index_key(case.owner, status, case.activity), case.created, case.id)
  redis.call('HSET', case_key(case.id), 'status', status, ...)
  case.status = status
end

-- Writes the number of the unfinished calls of a case, those that run or have a delivery, and the bytes of the others.
local function write_totals(case)
  redis.call('HSET', case_key(case.id), 'unfinished', case.unfinished, 'bytes', case.bytes)
end

-- Erases the outcome of an ended call, except its status.
local function erase_outcome(call_id)
  redis.call('HDEL', call_key(call_id), 'response', 'response_body', 'platform_url', 'detail', 'delivery_detail',
    'delivery_response', 'delivery_body')
end

-- Removes the parts of a request that are not recorded. They were kept while the call ran, for the person or program
-- that answers a held call, or for the delivery after a fallback.
local function trim_request(call_id)
  local call = redis.call('HMGET', call_key(call_id), 'recorded_request', 'request', 'request_body', 'drops_body')
  if not call[1] then return end
  local size = #call[1] - #call[2]
  redis.call('HSET', call_key(call_id), 'request', call[1], 'partial', '1')
  if call[4] then
    size = size - #call[3]
    redis.call('HSET', call_key(call_id), 'request_body', '')
  end
  redis.call('HINCRBY', call_key(call_id), 'size', size)
  redis.call('HDEL', call_key(call_id), 'recorded_request', 'drops_body')
end

-- Returns whether a call on this case ends in its claim, because the case answers it.
local function ends_at_claim(case) return case.activity == RECORD or case.answer_mode == 'ACK' end

-- Deletes an ended call, and takes its bytes from the totals of its case, which the caller writes. Its tombstone
-- remains, which no query finds: it answers a claim or a finish that is sent again, and a repeat for as long as the
-- window of the call.
---@return boolean deleted: not if its key has a wrong type
local function delete_call(case, call_id)
  local call = redis.pcall('HMGET', call_key(call_id), 'size', 'digest', 'delivery', 'wait_hash')
  if call.err then return false end
  case.bytes = case.bytes - call[1]
  redis.call('HDEL', call_key(call_id), 'request', 'request_body')
  -- Only where the case answers its calls, a claim that is sent again returns the response.
  if not ends_at_claim(case) then erase_outcome(call_id) end
  if call[3] then redis.call('ZREM', dead_key(case.owner), call_id) end
  local known_ms = call[2] and redis.call('PTTL', repeat_key(case.id, call[2])) or 0
  if call[4] then known_ms = math.max(known_ms, WAITED_MS) end
  redis.call('PEXPIRE', call_key(call_id), math.max(TOMBSTONE_MS, known_ms))
  redis.call('ZREM', calls_key(case.id), call_id)
  redis.call('ZREM', ended_key(), call_id)
  return true
end

-- Returns the oldest call of a case that has ended and has no delivery to run.
local function oldest_ended_call(case)
  local others = tonumber(case.unfinished)
  for from = 0, others, 64 do
    for _, call_id in ipairs(redis.call('ZRANGE', calls_key(case.id), from, math.min(from + 63, others))) do
      if redis.call('ZSCORE', ended_key(), call_id) then return call_id end
    end
  end
end

-- Keeps only the newest ended calls of a case, within the limits. Calls that run or have a delivery are never deleted.
local function trim_ended_calls(case, limits)
  local excess = redis.call('ZCARD', calls_key(case.id)) - case.unfinished - limits.recorded_calls_per_case
  while excess > 0 or case.bytes > limits.recorded_bytes_per_case do
    local oldest = oldest_ended_call(case)
    if not oldest or not delete_call(case, oldest) then return end
    excess = excess - 1
  end
end

-- Keeps a call that has ended, and has no delivery to run, for its retention. A closed case is kept as long as its last
-- call, so both are due together.
---@param size string|number bytes of the call
local function retain_ended_call(case, call_id, size, now, limits)
  redis.call('ZADD', ended_key(), now, call_id)
  if case.status == 'CLOSED' then redis.call('ZADD', closed_key(), now, case.id) end
  case.unfinished, case.bytes = case.unfinished - 1, case.bytes + size
  trim_ended_calls(case, limits)
  write_totals(case)
end

-- @include delivery
-- @include notifications
-- @include repeats

-- Raises an error if a key that a transition on this case may write to has a wrong type: Lua has no rollback, so a
-- script does this before its first write. ZINTERCARD looks at the types of all its keys, and then at nothing else,
-- because the first one does not exist.
---@param call_ids table the calls that the transition may write to and has not read, besides that which holds the case
---@param has_delivery any whether one of its calls may have a delivery, whatever the case is
---@param keeps_status any whether the case certainly has the same status after the transition
local function check_types(case, call_ids, has_delivery, keeps_status)
  local owner, activity, id = case.owner, case.activity, case.id
  redis.call('ZINTERCARD', 6, KEYS[1], leases_key(), ended_key(), calls_key(id), answers_key(id), dead_key(owner))
  if not keeps_status then
    redis.call('ZINTERCARD', 6, KEYS[1], expiries_key(), closed_key(), index_key(owner, 'OPEN', activity),
      index_key(owner, IN_PROGRESS, activity), index_key(owner, 'CLOSED', activity))
  end
  if case.answer_mode == 'HOLD' then
    redis.call('ZINTERCARD', 3, KEYS[1], held_key(id), waiting_key(owner))
    redis.call('HLEN', resolution_key(id))
  end
  if has_delivery or case.answer_mode == 'ACK' or case.fallback then
    redis.call('ZINTERCARD', 3, KEYS[1], delivery_activities_key(), due_key(activity))
  end
  redis.call('XLEN', events_key())
  if case.notify then
    redis.call('ZINTERCARD', 4, KEYS[1], reminders_key(), notification_activities_key(), notification_due_key(activity))
    for _, call_id in ipairs(notifications_of(case)) do redis.call('HLEN', call_key(call_id)) end
  end
  now_us()
  if case.status == IN_PROGRESS then redis.call('HLEN', call_key(case.call)) end
  for _, call_id in ipairs(call_ids) do redis.call('HLEN', call_key(call_id)) end
  if case.ordered then
    for _, call_id in ipairs(redis.call('LRANGE', queue_key(id), 0, 1)) do redis.call('HLEN', call_key(call_id)) end
  end
end

-- Returns whether a case certainly keeps its status in a transition on one of its calls that does not close it: it is
-- for multiple calls, and does not expire now.
local function keeps_status(case, now)
  return case.mode == 'MULTIPLE' and case.status == 'OPEN' and (not case.expires or tonumber(case.expires) > now)
end

-- Closes a case for good. Calls that run continue; the end of each is recorded on the call only.
local function close_case(case, reason, now)
  set_case_status(case, 'CLOSED', 'reason', reason, 'closed', now)
  redis.call('ZREM', expiries_key(), case.id)
  redis.call('ZADD', closed_key(), now, case.id)
  case.reason = reason
  if case.notify then drop_reminders(case) end
end

-- Ends a running call, and applies the life table to the case that it holds. The call is kept for its retention, unless
-- it has a delivery, which ends after it (`has_delivery`). A call whose handler closes the case need not hold it.
---@param fields table|nil more fields of the call, each followed by its value
---@return string effect on the case: OPEN, or the reason for which it is closed now; '' if the case is as it was
local function end_call(case, call_id, call_end, now, limits, has_delivery, fields)
  local call_status, status, reason = status_after(call_end), nil, nil
  if case.status ~= 'CLOSED' and (case.call == call_id or call_end == 'CLOSED') then
    status, reason = case_effect(case.mode, call_end)
  end
  local effect = reason or status or ''
  redis.call('HSET', call_key(call_id), 'status', call_status, 'end', now, 'effect', effect, unpack(fields or {}))
  redis.call('ZREM', leases_key(), call_id)
  if case.answer_mode == 'HOLD' then
    redis.call('ZREM', waiting_key(case.owner), call_id)
    redis.call('ZREM', held_key(case.id), call_id)
    trim_request(call_id)
  end
  local call = redis.call('HMGET', call_key(call_id), 'request', 'digest', 'window', 'waiters', 'size')
  if call[1] == '' then erase_outcome(call_id) end -- erased while it ran
  if status == 'CLOSED' then close_case(case, reason, now) elseif status then set_case_status(case, status) end
  emit_event(case, 'CALL_ENDED', call_id, call_status)
  start_window(case, call_id, call_status, now, call[2], call[3], call[4])
  if call_status == 'INTERRUPTED' then TIMEOUTS[#TIMEOUTS + 1] = {'LEASE_ENDED', call_id, case.activity, effect} end
  if not has_delivery then retain_ended_call(case, call_id, call[5], now, limits) end
  return effect
end

-- Ends a running call together with its delivery, if it has one.
---@return string effect as of `end_call`
local function end_call_and_delivery(case, call_id, call_end, now, limits, has_delivery, fields)
  local effect = end_call(case, call_id, call_end, now, limits, has_delivery, fields)
  local call_status = status_after(call_end)
  if not has_delivery then return effect end
  if call_status == 'SUCCEEDED' then
    trim_request(call_id)
  else -- the request is kept whole for a replay
    redis.call('HDEL', call_key(call_id), 'recorded_request', 'drops_body')
  end
  end_delivery(case, call_id, call_status == 'SUCCEEDED' and 'DELIVERED' or 'DEAD', now, limits)
  return effect
end

-- @include held

-- Ends the lease of a running call: the call is INTERRUPTED, unless it was held. Only a call that has a delivery, and a
-- handler that may run twice, goes on with the next attempt.
local function end_lease(case, call_id, now, limits)
  if case.answer_mode == 'HOLD' then return end_hold(case, call_id, now, limits) end
  local call = redis.call('HMGET', call_key(call_id), 'delivery', 'request')
  if call[1] then fail_attempt_of_lost_server(call_id) end
  if call[1] and case.mode ~= 'SINGLE' and call[2] ~= '' then
    redis.call('ZREM', leases_key(), call_id)
    schedule_attempt(case, call_id, now)
  else
    end_call_and_delivery(case, call_id, 'INTERRUPTED', now, limits, call[1])
  end
end

-- Applies the timeouts of a single case in the order of their times: the end of the lease of the call that holds it,
-- and its expiry.
local function apply_timeouts(case, now, limits)
  local expires = case.status ~= 'CLOSED' and tonumber(case.expires)
  local lease = case.status == IN_PROGRESS and tonumber(redis.call('ZSCORE', leases_key(), case.call))
  if lease and lease <= now and not (expires and expires < lease) then
    end_lease(case, case.call, now, limits)
  end
  if expires and expires <= now and case.status ~= 'CLOSED' then
    close_case(case, EXPIRED, now)
    emit_event(case, 'CASE_CLOSED')
    TIMEOUTS[#TIMEOUTS + 1] = {'CASE_EXPIRED', case.id, case.activity}
    -- A resolved case has its answer: that its time is over decides nothing.
    if notifies(case, 'EXPIRY') and not case.resolved then start_notification(case, expiry_id(case), now) end
  end
end
