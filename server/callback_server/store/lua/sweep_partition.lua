#!lua flags=allow-oom
-- Applies the timeouts of a partition: interrupts calls whose lease has ended, closes cases that have expired, starts
-- the reminders that are due. An entry without its case or call, or of a damaged case, is kept and reported. Also
-- updates the partition's copy of the paused activities.
--
-- KEYS: partition
-- ARGV:
---@param limit number of each kind
---@param pauses_version string
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
---@param paused_activities string[]
-- Returns: reports, then the number of leases, of expiries and of reminders (below the limit:
--          nothing is left), 1 if a delivery of a call is due, else 0, and the same of a notification (deliveries are
--          left to processes that can run them), what the store's clock shows, and by how much it is behind the time of
--          the partition, both in milliseconds.
-- Transition: of a call RUNNING -> INTERRUPTED with its row of the life table; of the delivery of such a call
--             RUNNING -> PENDING in place of that, where the handler may run twice; of a case to CLOSED (EXPIRED).
-- @include entries
-- @include pauses
-- @include timeouts
-- @include types
-- @arguments

-- How old the kept time may be while something waits for its time, in microseconds.
local KEEP_TIME_US = 5000000

local now = math.floor(now_us() / 1000)

local due_calls = redis.call('ZRANGE', leases_key(), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
local due_cases = redis.call('ZRANGE', expiries_key(), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
local due_reminders = redis.call('ZRANGE', reminders_key(), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
examine(due_calls, function(call_id)
  local case = load_case(string.sub(call_id, 1, 32))
  if case then check_types(case, {call_id}, true) end
end)
examine(due_cases, function(case_id)
  local case = load_case(case_id)
  if case then check_types(case, {}) end
end)
examine(due_reminders, function(case_id)
  local case = load_case(case_id)
  redis.call('STRLEN', content_key(case_id))
  if case then check_types(case, {}) end
end)
for _, notifications in ipairs({false, true}) do
  for _, activity in ipairs(activities_with_due_list(notifications)) do
    redis.call('ZCARD', due_list(activity, notifications))
  end
end

sync_pauses(pauses_version, paused_activities_first, paused_activities_last)
local calls = without_damaged('leases', leases_key(), due_calls, now)
local cases = without_damaged('expiries', expiries_key(), due_cases, now)
local reminded = without_damaged('reminders', reminders_key(), due_reminders, now)
for _, call_id in ipairs(calls) do
  local case = load_case(string.sub(call_id, 1, 32))
  if not case or not call_exists(call_id) then
    report_absent('leases', leases_key(), call_id, now)
  else
    apply_timeouts(case, now, limits)
    -- On a case for multiple calls, and on a closed one, apply_timeouts leaves the call as it is.
    if redis.call('ZSCORE', leases_key(), call_id) then end_lease(case, call_id, now, limits) end
  end
end
for _, case_id in ipairs(cases) do
  local case = load_case(case_id)
  if case then
    apply_timeouts(case, now, limits)
  else
    report_absent('expiries', expiries_key(), case_id, now)
  end
end
for _, case_id in ipairs(reminded) do
  local case = load_case(case_id)
  if not case or redis.call('EXISTS', content_key(case_id)) == 0 then
    report_absent('reminders', reminders_key(), case_id, now)
  else
    apply_timeouts(case, now, limits)
    if not is_decided(case) then
      start_reminder(case, now)
    else -- decided by a release without reminders
      redis.call('ZREM', reminders_key(), case_id)
    end
  end
end
local function is_due(notifications)
  for _, activity in ipairs(activities_with_due_list(notifications)) do
    local list = due_list(activity, notifications)
    if #redis.call('ZRANGE', list, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1) > 0 then return 1 end
  end
  return 0
end
local waits = redis.call('EXISTS', leases_key(), expiries_key(), reminders_key(), delivery_activities_key(),
  notification_activities_key()) > 0
if clock < time or (waits and time > kept_time + KEEP_TIME_US) then keep_time() end
return reply(#due_calls, #due_cases, #due_reminders, is_due(false), is_due(true), math.floor(clock / 1000),
  math.floor((time - clock) / 1000))
