#!lua flags=allow-oom
-- Marks a call that runs: its caller gets the fallback. Sent again for a call that was marked before, the script
-- changes nothing.
--
-- KEYS: partition
-- ARGV: call_id
-- Returns: OK (the call was marked while it ran); STALE (it has ended, or its lease has).
-- Transition: none.
-- @include lifecycle
-- @arguments

local call = redis.call('HMGET', call_key(call_id), 'status', 'fallback_sent')
if call[2] then return {'OK'} end
local lease = call[1] == 'RUNNING' and tonumber(redis.call('ZSCORE', leases_key(), call_id))
if not lease or lease <= math.floor(now_us() / 1000) then return {'STALE'} end
redis.call('HSET', call_key(call_id), 'fallback_sent', '1')
return {'OK'}
