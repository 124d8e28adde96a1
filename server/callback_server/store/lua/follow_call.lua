#!lua flags=allow-oom
-- Reads the call that a repeat waits with. While the call runs, the repeat keeps its place.
--
-- KEYS: partition
-- ARGV: case_id, call_id, repeat_id, replica (it is told of the end of the call)
-- Returns: RUNS; BUSY (the repeat has lost its place); FALLBACK with the fallback that the caller of the call got,
--          owner and alternative_domain of the case; ENDED with what REPEATED of claim_call has; UNKNOWN (the call is
--          not known any more).
-- Transition: none.
-- @include lifecycle
-- @arguments

local case = load_case(case_id)
local call = redis.call('HMGET', call_key(call_id), 'status', 'fallback_sent')
if not case or not call[1] then return {'UNKNOWN'} end
if call[1] ~= 'RUNNING' then return {'ENDED', answer_again(case, call_id)} end
if call[2] then
  return {'FALLBACK', redis.call('GET', fallback_key(case_id)), case.owner,
    settings_of(redis.call('GET', content_key(case_id)))[SETTING_ALTERNATIVE_DOMAIN]}
end
if not keep_place(call_id, repeat_id, replica, math.floor(now_us() / 1000)) then return {'BUSY'} end
return {'RUNS'}
