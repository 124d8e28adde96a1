-- A delivery: the processing of a call by its handler after the caller was answered. While a delivery is PENDING or
-- RUNNING, its call is in the list of its activity, by the time of the next attempt or of the end of the running
-- attempt's lease. An ordered case has only its first call there; the other calls wait behind it.
--
-- A call that still runs has a delivery if its caller got a fallback that accepts the request (2xx or 3xx). The lease
-- of its running attempt is the lease of the call, so the call is in the list of its activity only while the delivery
-- is PENDING.
--
-- A notification has the id and the key of a call, and a delivery, but no status, and is not among the calls of its
-- case. It is in a list of its own, so that a server of a release without notifications never takes it for a call.
-- @include retention

-- Returns whether an id is that of a notification. The random part of the id of a call does not begin with so many
-- zeros.
local function is_notification(call_id) return string.sub(call_id, 34, 46) == '0000000000000' end

-- Returns the keys of the list of a delivery, and of the set of the activities that have such a list.
local function lists_of(case, call_id)
  if is_notification(call_id) then return notification_due_key(case.activity), notification_activities_key() end
  return due_key(case.activity), delivery_activities_key()
end

-- Returns the activities that have a list of deliveries, of calls or of notifications.
local function activities_with_due_list(notifications)
  return redis.call('SMEMBERS', notifications and notification_activities_key() or delivery_activities_key())
end

-- Returns the key of the list of deliveries of an activity, of calls or of notifications.
local function due_list(activity, notifications)
  return notifications and notification_due_key(activity) or due_key(activity)
end

local function schedule(case, call_id, at)
  local due, activities = lists_of(case, call_id)
  redis.call('ZADD', due, at, call_id)
  redis.call('SADD', activities, case.activity)
end

local function unschedule(case, call_id)
  local due, activities = lists_of(case, call_id)
  redis.call('ZREM', due, call_id)
  if redis.call('EXISTS', due) == 0 then redis.call('SREM', activities, case.activity) end
end

-- Sets the status of a delivery. Nothing else changes it.
local function set_delivery_status(case, call_id, status)
  redis.call('HSET', call_key(call_id), 'delivery', status)
  emit_event(case, 'DELIVERY_CHANGED', call_id, redis.call('HGET', call_key(call_id), 'status'), status)
end

local function start_attempt(case, call_id, lease_end)
  redis.call('HINCRBY', call_key(call_id), 'attempts_started', 1)
  redis.call('HDEL', call_key(call_id), 'next')
  if redis.call('HGET', call_key(call_id), 'status') == 'RUNNING' then
    unschedule(case, call_id)
    redis.call('ZADD', leases_key(), lease_end, call_id)
  else
    schedule(case, call_id, lease_end)
  end
  set_delivery_status(case, call_id, 'RUNNING')
end

-- Records the failure of an attempt whose lease has ended.
local function fail_attempt_of_lost_server(call_id)
  redis.call('HSET', call_key(call_id), 'delivery_failure', 'HANDLER_LOST', 'delivery_detail',
    'the server that asked the handler was lost')
end

local function schedule_attempt(case, call_id, at)
  redis.call('HSET', call_key(call_id), 'next', at)
  schedule(case, call_id, at)
  set_delivery_status(case, call_id, 'PENDING')
end

-- Starts a delivery: with its first attempt, if a lease is given and no earlier delivery of an ordered case is first.
---@return boolean running
local function start_delivery(case, call_id, now, lease_ms)
  redis.call('HSET', call_key(call_id), 'delivery_start', now)
  if case.ordered == '1' and redis.call('RPUSH', queue_key(case.id), call_id) > 1 then
    set_delivery_status(case, call_id, 'PENDING')
    return false
  end
  if not lease_ms then
    schedule_attempt(case, call_id, now)
    return false
  end
  redis.call('HSET', call_key(call_id), 'at_claim', '1')
  start_attempt(case, call_id, now + lease_ms)
  return true
end

-- Ends a delivery as DELIVERED or DEAD, keeps its call for the retention, and makes the next call of an ordered case
-- due. An erased call is not listed as dead, because nothing is left to replay. A notification is kept with its case.
---@return boolean is_next_due
local function end_delivery(case, call_id, status, now, limits)
  redis.call('HDEL', call_key(call_id), 'next')
  unschedule(case, call_id)
  set_delivery_status(case, call_id, status)
  local call = redis.call('HMGET', call_key(call_id), 'start', 'request', 'size')
  if status == 'DEAD' and call[2] ~= '' then redis.call('ZADD', dead_key(case.owner), call[1], call_id) end
  if is_notification(call_id) then
    if case.status == 'CLOSED' then redis.call('ZADD', closed_key(), now, case.id) end
    return false
  end
  retain_ended_call(case, call_id, call[3], now, limits)
  if case.ordered ~= '1' then return false end
  redis.call('LREM', queue_key(case.id), 1, call_id)
  local first = redis.call('LINDEX', queue_key(case.id), 0)
  local waits = first and not redis.call('ZSCORE', due_key(case.activity), first)
  if waits then schedule_attempt(case, first, now) end
  return waits and true or false
end
