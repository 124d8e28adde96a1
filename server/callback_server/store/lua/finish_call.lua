#!lua flags=allow-oom
-- Records the end of a call. Only the holder of the call_id can do so, once; a held call ends with its first answer.
-- Sent again with the same status and answer, the script changes nothing. A call whose lease has ended is INTERRUPTED,
-- whatever its holder reports. An answer that was merged with another response than the case has now changes nothing:
-- the sender merges it again.
--
-- KEYS: partition
-- ARGV: case_id, call_id, status, failure, detail, response ('' = none), response_body,
--       version (of the response of the case that the outcome was merged with, '' = it does not depend on one),
--       answer_digest (of the answer to a held call, '' = the call is not held),
--       answer (the whole answer to a held call, '' = none), answer_ms (how long that is kept for the caller),
--       keep_open, limits (recorded_calls_per_case, recorded_bytes_per_case)
-- Returns: the timeouts that were applied, then OK, or AGAIN (the call had ended so before), with the effect on the
--          case ('' = none); STALE (the call has ended otherwise, or is no longer kept); MERGE with version, content
--          and body of the response that the case has now.
-- Transition: the call's row of the life table. A case that was closed meanwhile stays closed.
-- @include lifecycle
-- @arguments

local case = load_case(case_id)
local call = redis.call('HMGET', call_key(call_id), 'status', 'size', 'response', 'response_body', 'request',
  'effect', 'answer_digest')
if call[1] ~= 'RUNNING' then
  if call[1] == status and (call[7] or '') == answer_digest then return reply('AGAIN', call[6] or '') end
  return reply('STALE')
end

local now = math.floor(now_us() / 1000)
apply_timeouts(case, now, limits)
if redis.call('HGET', call_key(call_id), 'status') ~= 'RUNNING' then return reply('STALE') end
if tonumber(redis.call('ZSCORE', leases_key(), call_id)) <= now then
  end_call(case, call_id, 'INTERRUPTED', false, now, limits)
  return reply('STALE')
end
if version ~= '' and version ~= case.version then
  return reply('MERGE', tonumber(case.version), redis.call('GET', content_key(case_id)),
    redis.call('GET', body_key(case_id)) or '')
end

redis.call('HSET', call_key(call_id), 'failure', failure, 'keep_open', keep_open and '1' or '0')
if answer_digest ~= '' then
  redis.call('HSET', call_key(call_id), 'answer_digest', answer_digest)
  redis.call('SET', answer_key(call_id), answer, 'PX', answer_ms)
end
if call[5] ~= '' then -- otherwise it was erased while it ran
  local grown = #response + #response_body - #call[3] - #(call[4] or '')
  redis.call('HSET', call_key(call_id), 'response', response, 'response_body', response_body, 'detail', detail,
    'size', call[2] + grown)
end
return reply('OK', end_call(case, call_id, status, keep_open, now, limits))
