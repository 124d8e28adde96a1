#!lua
-- Sets the time at which a case expires, unless it is closed.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param owner string '' = any
---@param expires number in milliseconds since the epoch
---@param max_ms number how long after now that may be
---@param audit string see includes/audit.lua, '' = no entry
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
-- Returns: reports, then OK; UNKNOWN (no such case of this owner); CLOSED with its reason; PAST
--          (the time is not later than now); TOO_LATE; SAME (the case expires then already); HEAD_MOVED with the
--          newest item of the audit.
-- Transition: none. Timeouts are applied first.
-- @include audit
-- @include timeouts
-- @include types
-- @arguments

local case = load_owned_case(case_id, owner)
if not case then return reply('UNKNOWN') end
check_types(case, {})
redis.call('XLEN', audit_key())
local now = math.floor(now_us() / 1000)
apply_timeouts(case, now, limits)
if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end
if expires <= now then return reply('PAST') end
if expires > now + max_ms then return reply('TOO_LATE') end
if tonumber(case.expires) == expires then return reply('SAME') end
local appended, newest = append_audit(audit)
if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end
if appended == 'AGAIN' then return reply('OK') end

redis.call('HSET', case_key(case_id), 'expires', string.format('%.0f', expires))
redis.call('ZADD', expiries_key(), expires, case_id)
emit_event(case, 'CASE_EXTENDED')
return reply('OK')
