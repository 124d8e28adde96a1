#!lua flags=allow-oom
-- Sets a flag of a call, and changes nothing else.
--
-- KEYS: partition
-- ARGV: call_id, flag (the name of a field: caller_gone)
-- Returns: OK; UNKNOWN (no such call, or it is no longer kept).
-- Transition: none.
-- @include key_functions
-- @arguments

if redis.call('HEXISTS', call_key(call_id), 'request') == 0 then return {'UNKNOWN'} end
redis.call('HSET', call_key(call_id), flag, '1')
return {'OK'}
