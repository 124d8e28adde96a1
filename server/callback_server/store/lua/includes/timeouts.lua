-- Timeouts. Every transition on a case applies those that are due, whatever it was asked for.
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
    local skipped = case.notify and skipped_reminders(case) or 0
    close_case(case, EXPIRED, now)
    emit_event(case, 'CASE_CLOSED')
    REPORTS[#REPORTS + 1] = {'CASE_EXPIRED', case.id, case.activity, skipped}
    -- A resolved case has its answer: that its time is over decides nothing.
    if notifies(case, 'EXPIRY') and not case.resolved then start_notification(case, expiry_id(case), now) end
  end
end
