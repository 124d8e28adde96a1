-- The next reminder of a case is in the list of reminders, by its time.
-- @include settings

-- Returns when the reminder with this number is due, in milliseconds, or nil: the case has not so many.
local function reminder_due(case, number)
  local after = settings_of(redis.call('GET', content_key(case.id)))[SETTING_REMIND_AFTER_MS] or {}
  return after[number] and math.floor(case.created / 1000) + after[number]
end

-- Puts the reminder with this number into the list of reminders, if the case has so many.
local function schedule_reminder(case, number)
  local due = reminder_due(case, number)
  if due then
    redis.call('ZADD', reminders_key(), due, case.id)
  else
    redis.call('ZREM', reminders_key(), case.id)
  end
end
