#!lua flags=allow-oom
-- Records of a call that its caller had hung up before it could be answered.
--
-- KEYS: partition
-- ARGV: call_id
-- Returns: OK; UNKNOWN (no such call, or no longer kept).
-- Transition: none.
-- @include life

local call_id = ARGV[1]

if redis.call('HEXISTS', call_key(call_id), 'request') == 0 then return {'UNKNOWN'} end
redis.call('HSET', call_key(call_id), 'caller_gone', '1')
return {'OK'}
