#!lua
-- Replaces the response of a case that is not closed, if its version is still the one that the sender has read.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param owner string '' = any
---@param version string
---@param content string
---@param body string '' = none, or inside the content
---@param code string of the response, '' = 200, 0 = a redirect
---@param needs_platform boolean the response has a URL that is a /path
---@param audit string see includes/audit.lua, '' = no entry
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
-- Returns: reports, then OK; UNKNOWN (no such case of this owner); CLOSED with its reason;
--          CONFLICT (the response has another version); HEAD_MOVED with the newest item of the audit.
-- Transition: none. Timeouts are applied first.
-- @include audit
-- @include timeouts
-- @include types
-- @arguments

local case = load_owned_case(case_id, owner)
if not case then return reply('UNKNOWN') end
check_types(case, {})
redis.call('XLEN', audit_key())
apply_timeouts(case, math.floor(now_us() / 1000), limits)
if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end
if case.version ~= version then return reply('CONFLICT') end
local appended, newest = append_audit(audit)
if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end

redis.call('SET', content_key(case_id), content)
retire_body(case)
if body ~= '' then redis.call('SET', body_key(case_id), body) end
redis.call('HSET', case_key(case_id), 'path', needs_platform and '1' or '', 'code', code)
redis.call('HINCRBY', case_key(case_id), 'version', 1)
emit_event(case, 'RESPONSE_SET')
return reply('OK')
