#!lua
-- Makes the delivery of a call or notification due now: a new delivery of a recorded call, or the next attempt of a
-- delivery that waits. The delivery counts as replayed from then on. A delivery that waits is listed again if its entry
-- was lost.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param owner string '' = any
---@param call_id string
---@param audit string see includes/audit.lua, '' = no entry
-- Returns: reports, then OK; UNKNOWN (no such call of this owner, or it is no longer kept);
--          RUNNING (the call or its delivery runs); INCOMPLETE (its request is not kept whole); UNHANDLED (its activity
--          has no handler); OBSOLETE (it is a reminder, and its case is decided); HEAD_MOVED with the
--          newest item of the audit.
-- Transition: of a delivery none, DELIVERED or DEAD -> PENDING.
-- @include audit
-- @include types
-- @arguments

local case = load_owned_case(case_id, owner)
local call = redis.call('HMGET', call_key(call_id), 'status', 'request', 'partial', 'delivery', 'size',
  'attempts_started', 'attempts_not_asked')
if not case or not call[2] then return reply('UNKNOWN') end
if case.activity == RECORD or case.activity == FORM then return reply('UNHANDLED') end
if call[4] == 'RUNNING' or (call[1] == 'RUNNING' and not call[4]) then return reply('RUNNING') end
if call[2] == '' or call[3] then return reply('INCOMPLETE') end
if is_obsolete(case, call_id) then return reply('OBSOLETE') end

check_types(case, {}, true)
local now = math.floor(now_us() / 1000)
local appended, newest = append_audit(audit)
if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end
if appended == 'AGAIN' then return reply('OK') end
redis.call('HSET', call_key(call_id), 'replayed', '1')
if call[4] == 'PENDING' then
  count_step(case)
  if case.ordered == '1' and not is_notification(call_id) then
    if not redis.call('LPOS', queue_key(case_id), call_id) then redis.call('RPUSH', queue_key(case_id), call_id) end
    if redis.call('LINDEX', queue_key(case_id), 0) ~= call_id then return reply('OK') end
  end
  local due_at = redis.call('ZSCORE', lists_of(case, call_id), call_id)
  if not due_at or tonumber(due_at) > now then schedule_attempt(case, call_id, now) end
  return reply('OK')
end
redis.call('HSET', call_key(call_id), 'attempts_before_replay', call[6] or 0, 'not_asked_before_replay', call[7] or 0)
redis.call('ZREM', dead_key(case.owner), call_id)
if is_notification(call_id) then
  redis.call('HSET', call_key(call_id), 'delivery_start', now)
  schedule_attempt(case, call_id, now)
  return reply('OK')
end
redis.call('ZREM', ended_key(), call_id)
case.unfinished, case.bytes = case.unfinished + 1, case.bytes - call[5]
write_totals(case)
start_delivery(case, call_id, now)
return reply('OK')
