#!lua flags=allow-oom
-- Takes deliveries of a partition for the sender to run at once: due deliveries, and deliveries whose lease has ended.
-- Skips deliveries of paused activities, and those of cases with a feature that this server does not know. A reminder
-- whose case is decided is dropped in place of that. An entry without its case or call, or of a damaged case, is kept
-- and reported.
--
-- KEYS: partition
-- ARGV:
---@param limit number
---@param max_bytes number of requests; the first is taken whatever its size
---@param turn number a number that differs each time: each activity comes first in its turn
---@param default_lease_ms number
---@param notifications boolean whether it takes notifications, in place of calls
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
---@param declared_leases string[] pairs: activity, lease_ms
-- Returns: reports, then 1 if more may be due, else 0; then for each delivery call_id,
--          fencing_token, the number of attempts in which no handler was asked, attempts since it started or was
--          replayed, how many of these asked no handler, age_ms since then, lease_ms, owner, activity, content and body
--          (for an ACK call the values at its claim, otherwise the present values; for a notification no body),
--          request, request_body, '1' if it was replayed, 1 if the call still runs, else 0, and the version of the
--          present values.
-- Transition: of a delivery PENDING, or RUNNING after its lease -> RUNNING.
-- @include entries
-- @include known_features
-- @include types
-- @arguments

local now = math.floor(now_us() / 1000)

local lease_ms = {}
for i = declared_leases_first, declared_leases_last, 2 do lease_ms[ARGV[i]] = tonumber(ARGV[i + 1]) end

local activities = activities_with_due_list(notifications)
table.sort(activities)

local function check(call_id)
  local case = load_case(string.sub(call_id, 1, 32))
  if not case then return end
  check_types(case, {call_id}, true)
  redis.call('STRLEN', content_key(case.id))
  redis.call('STRLEN', body_key(case.id))
end

-- The calls or notifications that are due, each before its activity, and at most one more than can be taken: however
-- many activities have some, a script looks at no more of them.
local due_by_activity, found = {}, 0
for i = 1, #activities do
  local activity = activities[(turn + i) % #activities + 1]
  local left = limit + 1 - found
  if left == 0 then break end
  if redis.call('HEXISTS', pauses_key(), activity) == 0 then
    local entries = redis.call('ZRANGE', due_list(activity, notifications), '-inf', now, 'BYSCORE', 'LIMIT', 0, left)
    found = found + #entries
    examine(entries, check)
    due_by_activity[#due_by_activity + 1] = {activity, entries}
  end
end

local due, list = {}, notifications and 'notification_due' or 'due'
for _, each in ipairs(due_by_activity) do
  for _, call_id in ipairs(without_damaged(list, due_list(each[1], notifications), each[2], now)) do
    due[#due + 1] = each[1]
    due[#due + 1] = call_id
  end
end

local taken, bytes, skipped = {}, 0, 0
for i = 1, math.min(#due, 2 * limit), 2 do
  if bytes > max_bytes then return reply(1, unpack(taken)) end
  local activity, call_id = due[i], due[i + 1]
  local case = load_case(string.sub(call_id, 1, 32))
  local call = redis.call('HMGET', call_key(call_id), 'delivery', 'attempts_before_replay', 'delivery_start',
    'response', 'response_body', 'request', 'request_body', 'replayed', 'attempts_not_asked',
    'not_asked_before_replay', 'status', 'body_of')
  local content, body = call[4], call[5]
  if case and is_notification(call_id) then -- its handler gets no response
    content, body = redis.call('GET', content_key(case.id)), ''
  elseif case and case.answer_mode ~= 'ACK' then
    content, body = redis.call('GET', content_key(case.id)), redis.call('GET', body_key(case.id))
  elseif case and call[12] then
    body = read_body('GET', case.id, case.version, call[12])
  end
  if not case or not call[6] or (call[6] ~= '' and not content) then
    report_absent(is_notification(call_id) and 'notification_due' or 'due', due_list(activity, notifications),
      call_id, now)
  elseif unknown_feature(case) then -- another server takes it
    skipped = skipped + 1
  elseif is_obsolete(case, call_id) then
    drop_reminder(case, call_id)
  elseif call[6] == '' then -- erased while an attempt ran, whose lease has ended
    end_delivery(case, call_id, 'DEAD', now, limits)
  else
    if call[1] == 'RUNNING' then fail_attempt_of_lost_server(call_id) end
    local lease = lease_ms[activity] or default_lease_ms
    start_attempt(case, call_id, now + lease)
    local attempts = tonumber(redis.call('HGET', call_key(call_id), 'attempts_started'))
    bytes = bytes + #call[6] + #(call[7] or '')
    local not_asked = tonumber(call[9] or 0)
    taken[#taken + 1] = {call_id, attempts, not_asked, attempts - tonumber(call[2] or 0),
      not_asked - tonumber(call[10] or 0), now - tonumber(call[3]), lease, case.owner, activity, content, body or '',
      call[6], call[7] or '', call[8] or '', call[11] == 'RUNNING' and 1 or 0, tonumber(case.version)}
  end
end
return reply(found - skipped > limit and 1 or 0, unpack(taken))
