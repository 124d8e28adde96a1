-- The end of a call, and its effect on the case.
-- @include life_functions
-- @include life_constants
-- @include notifications

-- Sets the status of a case, the index that goes with it, and other fields of the case.
local function set_case_status(case, status, ...)
  redis.call('ZREM', index_key(case.owner, case.status, case.activity), case.id)
  redis.call('ZADD', index_key(case.owner, status, case.activity), case.created, case.id)
  redis.call('HSET', case_key(case.id), 'status', status, ...)
  case.status = status
end

-- Removes the parts of a request that are not recorded. They were kept while the call ran, for the person or program
-- that answers a held call, or for the delivery after a fallback.
local function trim_request(case, call_id)
  local call = redis.call('HMGET', call_key(call_id), 'recorded_request', 'request', 'request_body', 'drops_body')
  if not call[1] then return end
  local size = #call[1] - #call[2]
  redis.call('HSET', call_key(call_id), 'request', call[1], 'partial', '1')
  if call[4] then
    size = size - #call[3]
    redis.call('HSET', call_key(call_id), 'request_body', '')
  end
  redis.call('HINCRBY', call_key(call_id), 'size', size)
  case.recorded = case.recorded + size
  redis.call('HDEL', call_key(call_id), 'recorded_request', 'drops_body')
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
    trim_request(case, call_id)
  end
  local call = redis.call('HMGET', call_key(call_id), 'request', 'digest', 'window', 'waiters', 'size',
    'digest_of')
  if call[1] == '' then erase_outcome(case, call_id) end -- erased while it ran
  if status == 'CLOSED' then close_case(case, reason, now) elseif status then set_case_status(case, status) end
  emit_event(case, 'CALL_ENDED', call_id, call_status)
  start_window(case, call_id, call_status, now, call[2], call[3], call[4], call[6])
  if call_status == 'INTERRUPTED' then REPORTS[#REPORTS + 1] = {'LEASE_ENDED', call_id, case.activity, effect} end
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
    trim_request(case, call_id)
  else -- the request is kept whole for a replay
    redis.call('HDEL', call_key(call_id), 'recorded_request', 'drops_body')
  end
  end_delivery(case, call_id, call_status == 'SUCCEEDED' and 'DELIVERED' or 'DEAD', now, limits)
  return effect
end
