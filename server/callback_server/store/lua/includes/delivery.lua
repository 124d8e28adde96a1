-- A delivery: a call's way through its handler after its caller was answered. While it is PENDING or RUNNING, the call is
-- not over, and stands among those of its activity by the time when something is due: its next attempt, or the end of the
-- lease of the one that runs. Of an ordered case only the first stands there; the others wait behind it.

local function put_due(case, call_id, at)
  redis.call('ZADD', due_key(case.activity), at, call_id)
  redis.call('SADD', inbox_key(), case.activity)
end

local function take_off(case, call_id)
  redis.call('ZREM', due_key(case.activity), call_id)
  if redis.call('EXISTS', due_key(case.activity)) == 0 then redis.call('SREM', inbox_key(), case.activity) end
end

-- The one place where a delivery changes.
local function change(case, call_id, status)
  redis.call('HSET', call_key(call_id), 'delivery', status)
  emit(case, 'DELIVERY_CHANGED', call_id, redis.call('HGET', call_key(call_id), 'status'), status)
end

local function run(case, call_id, lease_end)
  redis.call('HINCRBY', call_key(call_id), 'tries', 1)
  redis.call('HDEL', call_key(call_id), 'next')
  put_due(case, call_id, lease_end)
  change(case, call_id, 'RUNNING')
end

local function wait(case, call_id, at)
  redis.call('HSET', call_key(call_id), 'next', at)
  put_due(case, call_id, at)
  change(case, call_id, 'PENDING')
end

-- Begins a delivery: at once with a lease, if one is given and no earlier one of an ordered case is in its way.
---@return boolean running
local function deliver(case, call_id, now, lease_ms)
  redis.call('HSET', call_key(call_id), 'since', now)
  if case.ordered == '1' and redis.call('RPUSH', queue_key(case.id), call_id) > 1 then
    change(case, call_id, 'PENDING')
    return false
  end
  if not lease_ms then
    wait(case, call_id, now)
    return false
  end
  redis.call('HSET', call_key(call_id), 'at_once', '1')
  run(case, call_id, now + lease_ms)
  return true
end

-- DELIVERED or DEAD: the call is over, and the next of an ordered case is due. What was erased is not listed as dead: nothing
-- is left to replay.
---@return boolean next whether there is one
local function conclude(case, call_id, status, now, keep)
  redis.call('HDEL', call_key(call_id), 'next')
  take_off(case, call_id)
  change(case, call_id, status)
  local call = redis.call('HMGET', call_key(call_id), 'start', 'request')
  if status == 'DEAD' and call[2] ~= '' then redis.call('ZADD', dead_key(case.owner), call[1], call_id) end
  over(case, call_id, now, keep)
  if case.ordered ~= '1' then return false end
  redis.call('LREM', queue_key(case.id), 1, call_id)
  local first = redis.call('LINDEX', queue_key(case.id), 0)
  local waits = first and not redis.call('ZSCORE', due_key(case.activity), first)
  if waits then wait(case, first, now) end
  return waits and true or false
end
