#!lua flags=allow-oom
-- Records something of a call that changes nothing else.
--
-- KEYS: partition
-- ARGV: call_id, mark (the name of a field: caller_gone or fallback_sent)
-- Returns: OK; UNKNOWN (no such call, or no longer kept).
-- Transition: none.
-- @include life

local call_id, mark = ARGV[1], ARGV[2]

if redis.call('HEXISTS', call_key(call_id), 'request') == 0 then return {'UNKNOWN'} end
redis.call('HSET', call_key(call_id), mark, '1')
return {'OK'}
