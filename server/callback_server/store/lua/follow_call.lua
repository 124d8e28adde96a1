#!lua flags=allow-oom
-- Reads the call that a repeat waits with, or a caller at its address. While the call runs, the repeat goes on waiting.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param call_id string
---@param repeat_id string
---@param replica string gets a message when the call ends
---@param wait_hash string SHA-256 of the token in the address, '' = a repeat
---@param without_answer boolean whether only the end of the call is asked for
-- Returns: RUNS with owner ('' = the case is deleted); BUSY (the call has too many waiters); FALLBACK with the
--          fallback that the caller of the call got, owner and alternative_domain of the case; ENDED with what
--          REPEATED of claim_call has, or with nothing if the answer was not asked for; UNKNOWN (the call is not
--          known any more).
-- Transition: none.
-- @include repeats
-- @arguments

local case = load_case(case_id)
local call = redis.call('HMGET', call_key(call_id), 'status', 'fallback_sent', 'wait_hash')
local is_own = wait_hash ~= ''
if not call[1] or (is_own and call[3] ~= wait_hash) or not (case or is_own) then return {'UNKNOWN'} end
if call[1] ~= 'RUNNING' and without_answer then return {'ENDED'} end
if call[1] ~= 'RUNNING' then return {'ENDED', answer_again(case, call_id, is_own and repeat_id or nil)} end
if call[2] and not is_own then
  return {'FALLBACK', redis.call('GET', fallback_key(case_id)), case.owner,
    settings_of(redis.call('GET', content_key(case_id)))[SETTING_ALTERNATIVE_DOMAIN]}
end
-- A caller at the address goes on following the call, also if it is not one of its waiters.
if not add_waiter(call_id, repeat_id, replica, math.floor(now_us() / 1000)) and not is_own then return {'BUSY'} end
return {'RUNS', case and case.owner or ''}
