#!lua flags=allow-oom
-- Marks a call whose caller did not get its answer, whether the call runs or has ended. Sent again, the script changes
-- nothing.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param call_id string
-- Returns: reports, then OK; UNKNOWN (no such call, or it is no longer kept).
-- Transition: none.
-- @include types
-- @arguments

local call = redis.call('HMGET', call_key(call_id), 'request', 'status', 'caller_gone')
if not call[1] then return reply('UNKNOWN') end
if call[3] then return reply('OK') end
local case = load_case(case_id)
if not case then return reply('UNKNOWN') end
check_types(case, {})
redis.call('HSET', call_key(call_id), 'caller_gone', '1')
emit_event(case, 'CALLER_GONE', call_id, call[2])
return reply('OK')
