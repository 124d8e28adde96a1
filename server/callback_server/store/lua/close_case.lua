#!lua flags=allow-oom
-- Closes a case, in any status. A closed case stays as it is.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param owner string '' = any
---@param audit string see includes/audit.lua, '' = no entry
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
-- Returns: reports, then OK; ALREADY (it was closed before); UNKNOWN (no such case of this
--          owner); HEAD_MOVED with the newest item of the audit.
-- Transition: OPEN, IN_PROGRESS -> CLOSED (CLOSED_BY_OWNER). Timeouts are applied first.
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
if case.status == 'CLOSED' then return reply('ALREADY') end
local appended, newest = append_audit(audit)
if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end
close_case(case, CLOSED_BY_OWNER, now)
emit_event(case, 'CASE_CLOSED')
return reply('OK')
