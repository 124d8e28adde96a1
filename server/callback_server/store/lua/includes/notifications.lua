-- Notifications: messages to the handler of a case without a call. A reminder is due at its time, the expiry when the
-- case closes as EXPIRED. Neither is sent once the case is decided. Their ids are counted, so that each is made once,
-- also if a script is sent again.
-- @include delivery
-- @include reminders

local function reminder_id(case, number) return string.format('%s-%016x', case.id, number) end

local function expiry_id(case) return reminder_id(case, 255) end

-- Returns whether the owner asked for notifications with a reason.
local function notifies(case, reason) return string.find(case.notify or '', reason, 1, true) ~= nil end

-- Returns whether a case is decided: closed, or resolved, so that each later call gets its answer.
local function is_decided(case) return case.status == 'CLOSED' or case.resolved ~= nil end

-- Returns how many reminders of a case were due.
local function reminder_count(case) return tonumber(redis.call('HGET', case_key(case.id), 'reminders') or 0) end

-- Returns the ids of the notifications of a case, also of those that were dropped.
local function notifications_of(case)
  local ids = {}
  if not case.notify then return ids end
  for number = 1, reminder_count(case) do ids[number] = reminder_id(case, number) end
  ids[#ids + 1] = expiry_id(case)
  return ids
end

-- Returns how many reminders of a case that expires were due by then and are dropped, as after an outage: those that
-- did not start, and those that no handler took.
local function skipped_reminders(case)
  local expires, started, skipped = tonumber(case.expires), reminder_count(case), 0
  local due = tonumber(redis.call('ZSCORE', reminders_key(), case.id))
  while due and due <= expires do
    skipped = skipped + 1
    due = reminder_due(case, started + skipped + 1)
  end
  for number = 1, started do
    local call_id = reminder_id(case, number)
    if redis.call('HGET', call_key(call_id), 'delivery') == 'PENDING' then skipped = skipped + 1 end
  end
  return skipped
end

-- Starts the delivery of a notification.
local function start_notification(case, call_id, now)
  redis.call('HSET', call_key(call_id), 'start', now, 'request', cmsgpack.pack({''}), 'size', 0, 'delivery_start', now)
  schedule_attempt(case, call_id, now)
end

-- Starts the delivery of the reminder of a case that is due.
local function start_reminder(case, now)
  local number = redis.call('HINCRBY', case_key(case.id), 'reminders', 1)
  schedule_reminder(case, number + 1)
  start_notification(case, reminder_id(case, number), now)
end

-- Deletes a reminder whose case is decided.
local function drop_reminder(case, call_id)
  unschedule(case, call_id)
  redis.call('ZREM', dead_key(case.owner), call_id)
  redis.call('UNLINK', call_key(call_id))
end

-- Drops the reminders of a case that is decided: those that are not due yet, and those that are not delivered. One that
-- is with a handler now is dropped when its attempt fails.
local function drop_reminders(case)
  if not case.notify then return end
  redis.call('ZREM', reminders_key(), case.id)
  for number = 1, reminder_count(case) do
    local call_id = reminder_id(case, number)
    local delivery = redis.call('HGET', call_key(call_id), 'delivery')
    if delivery == 'PENDING' or delivery == 'DEAD' then drop_reminder(case, call_id) end
  end
end

-- Returns whether a reminder is dropped in place of another attempt, because its case is decided.
local function is_obsolete(case, call_id)
  return is_notification(call_id) and is_decided(case) and call_id ~= expiry_id(case)
end
