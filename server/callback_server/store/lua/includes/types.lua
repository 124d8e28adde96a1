-- The check of a transition before its first write. A transition reads everything, decides, and only then writes.
-- @include life_constants
-- @include notifications

-- Raises an error if a key that a transition on this case may write to has a wrong type: Lua has no rollback, so a
-- script does this before its first write. ZINTERCARD looks at the types of all its keys, and then at nothing else,
-- because the first one does not exist.
---@param call_ids table the calls that the transition may write to and has not read, besides that which holds the case
---@param has_delivery any whether one of its calls may have a delivery, whatever the case is
---@param keeps_status any whether the case certainly has the same status after the transition
local function check_types(case, call_ids, has_delivery, keeps_status)
  local owner, activity, id = case.owner, case.activity, case.id
  redis.call('HLEN', uses_key(id, case.version))
  redis.call('ZINTERCARD', 7, KEYS[1], leases_key(), ended_key(), calls_key(id), answers_key(id), dead_key(owner),
    recorded_bytes_key())
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
