#!lua flags=allow-oom
-- Does what is due in a partition: ends calls whose lease is over, closes cases that have expired. What has no case, which
-- can only come from outside, is taken off the list: it must not stand in the way of the others for ever. And brings what
-- is paused.
--
-- KEYS: partition
-- ARGV: limit (of each kind), keep_calls, keep_bytes, and of what is paused the version, then the activities
-- Returns: what was due, then how many leases and how many expiries that were (less than the limit means that nothing is
--          left), and 1 if a delivery is due, else 0: that is left to who can run it.
-- Transition: of a call RUNNING -> INTERRUPTED with the life table; of a case to CLOSED (EXPIRED).
-- @include life
-- @include pauses

local limit, keep = tonumber(ARGV[1]), {calls = tonumber(ARGV[2]), bytes = tonumber(ARGV[3])}
local now = math.floor(now_us() / 1000)

sync_pauses(4)

local calls = redis.call('ZRANGE', leases_key(), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, call_id in ipairs(calls) do
  local case = load_case(string.sub(call_id, 1, 32))
  if case then settle(case, now, keep) else redis.call('ZREM', leases_key(), call_id) end
  -- Of a case with multiple calls, or one that is closed, settle leaves the call to us.
  if redis.call('ZSCORE', leases_key(), call_id) then
    end_call(case, call_id, 'INTERRUPTED', false, now, keep)
  end
end
local cases = redis.call('ZRANGE', expiries_key(), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, case_id in ipairs(cases) do
  local case = load_case(case_id)
  if case then settle(case, now, keep) else redis.call('ZREM', expiries_key(), case_id) end
end
local deliveries = 0
for _, activity in ipairs(redis.call('SMEMBERS', inbox_key())) do
  if #redis.call('ZRANGE', due_key(activity), '-inf', now, 'BYSCORE', 'LIMIT', 0, 1) > 0 then
    deliveries = 1
    break
  end
end
return reply(#calls, #cases, deliveries)
