-- A held call: it waits in the store until it is answered, its case is resolved, or its hold time ends. Until then it
-- is in the list of the held calls of its case, and its lease is the rest of its hold time.
-- @include end_call

-- How long the whole answer to a held call is kept for the process where its caller waits, in milliseconds: much longer
-- than the interval at which that looks for it. Only the number of held calls limits the bytes of these answers: each
-- of them ends once.
local ANSWER_MS = 10000

-- Ends a held call with the answer to its case, a list: status, response, response_body, the whole answer as it is
-- kept ('' = it was erased, and nothing is left of it), its code, how many bytes of answers the case may keep, '1' if
-- it must not be given twice, and the principal that gave it. It is kept for `keep_ms` at least.
---@return string effect as of `end_call`
local function answer_held_call(case, call_id, digest, answer, keep_ms, now, limits)
  local status, response, response_body, whole, code, max_bytes, no_repeat, answered_by = unpack(answer, 1, 8)
  local call = redis.call('HMGET', call_key(call_id), 'size', 'response', 'response_body', 'request', 'window',
    'body_of')
  redis.call('HSET', call_key(call_id), 'failure', '', 'keep_open', '0', 'answer_digest', digest,
    'answered_by', answered_by or '')
  local window_ms = tonumber(call[5] or 0)
  if no_repeat == '1' or case.no_repeat then
    redis.call('HSET', call_key(call_id), 'no_repeat', '1')
    window_ms = 0
  elseif window_ms > 0 then
    redis.call('HSET', call_key(call_id), 'code', code)
  end
  local is_erased = call[4] == '' -- while it was held
  if not is_erased then
    local replaced = call[6] and read_body('STRLEN', case.id, case.version, call[6]) or #(call[3] or '')
    local grown = #response + #response_body - #call[2] - replaced
    release_body(case, call_id)
    case.recorded = case.recorded + grown
    redis.call('HSET', call_key(call_id), 'response', response, 'response_body', response_body, 'size', call[1] + grown)
  end
  local effect = end_call(case, call_id, status, now, limits)
  if whole ~= '' then
    keep_answer(case, call_id, whole, keep_ms, is_erased and 0 or window_ms, now, tonumber(max_bytes))
  end
  return effect
end

-- Ends a call on a case that was resolved with the answer of the case, which is kept for `keep_ms` at least.
---@return string effect as of `end_call`
---@return string status of the call
---@return string answer whole, packed
local function end_resolved(case, call_id, keep_ms, now, limits)
  local answer = redis.call('HMGET', resolution_key(case.id), 'status', 'response', 'response_body', 'answer', 'code',
    'max_bytes', 'no_repeat', 'answered_by')
  return answer_held_call(case, call_id, case.resolved, answer, keep_ms, now, limits), answer[1], answer[4]
end

-- Ends a held call at the end of its lease: with the answer of its case if that was resolved, else as FAILED, because
-- it was not answered in time.
local function end_hold(case, call_id, now, limits)
  if case.resolved then
    local effect, status = end_resolved(case, call_id, ANSWER_MS, now, limits)
    REPORTS[#REPORTS + 1] = {'RESOLVED', call_id, case.activity, effect, status}
  else
    redis.call('HSET', call_key(call_id), 'failure', 'DEADLINE_EXCEEDED', 'detail',
      'the call was not answered within the hold_time of its callback')
    local effect = end_call(case, call_id, 'FAILED', now, limits)
    REPORTS[#REPORTS + 1] = {'HOLD_TIME_ENDED', call_id, case.activity, effect}
  end
end
