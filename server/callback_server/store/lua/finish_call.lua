#!lua flags=allow-oom
-- Records the end of a call. Only the holder of the call_id can do so, once; a held call ends with its first answer.
-- Sent again with the same status and answer, the script changes nothing. A call whose lease has ended is INTERRUPTED,
-- whatever its holder reports. An answer that was merged with another response than the case has now changes nothing:
-- the sender merges it again.
--
-- A call that has a delivery ends with the attempt that is reported, unless another attempt follows: if no handler was
-- asked, or if the handler failed and may run twice.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param call_id string
---@param status string
---@param fencing_token string token of the attempt; 1 if the caller still waited when it started
---@param repeat_bytes_per_case number
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
---@param code string of the answer, '' = a repeat gets none without the whole answer
---@param version string of the response of the case that the outcome was merged with, '' = it does not depend on one
---@param response string '' = none
---@param was_asked boolean whether the handler was asked
---@param response_body string
---@param answer_digest string of the answer to a held call, '' = the call is not held
---@param answered_by string the principal that answers it
---@param audit string of such an answer, see includes/audit.lua
---@param backoff_ms string until the next attempt, '' = there is none
---@param failure string
---@param detail string
---@param close boolean
---@param keep_open boolean
---@param no_repeat boolean whether the answer must not be given twice
---@param names_body boolean whether what is recorded of the answer names the body of that response, in place of
--  `response_body`
---@param whole_names_body boolean the same of the whole answer
---@param whole_response string the whole answer, '' = that is what is recorded
---@param whole_body string its body
-- Returns: reports, then OK, or AGAIN (the call had ended so before), with the effect on the
--          case ('' = none), the status of the delivery ('' = none) and 1 if the case is open now; PENDING
--          (another attempt follows); STALE (the call has ended otherwise, another attempt has started, or the call is
--          no longer kept); MERGE with version, content and body of the response that the case has now; HEAD_MOVED
--          with the newest item of the audit.
-- Transition: the call's row of the life table. A case that was closed meanwhile stays closed. Of its delivery
--             RUNNING -> DELIVERED, DEAD or PENDING.
-- @include audit
-- @include timeouts
-- @include types
-- @arguments

local case = load_case(case_id)
local call = redis.call('HMGET', call_key(call_id), 'status', 'size', 'response', 'response_body', 'request',
  'effect', 'answer_digest', 'delivery', 'attempts_started', 'ended_fencing_token', 'window', 'wait_hash',
  'body_of')
local delivery = call[8]
if call[1] ~= 'RUNNING' then
  if call[1] ~= status or (call[7] or '') ~= answer_digest then return reply('STALE') end
  local is_open = case and case.status == 'OPEN'
  return reply('AGAIN', call[6] or '', delivery or '', is_open and '1' or '')
elseif delivery and call[10] == fencing_token then
  return reply('PENDING')
end

if not case then return reply('STALE') end
local now = math.floor(now_us() / 1000)
check_types(case, {}, delivery, not close and keeps_status(case, now))
if audit ~= '' then redis.call('XLEN', audit_key()) end
if names_body then redis.call('STRLEN', body_key(case_id)) end
apply_timeouts(case, now, limits)
local lease = tonumber(redis.call('ZSCORE', leases_key(), call_id))
if lease and lease <= now then
  end_lease(case, call_id, now, limits)
  return reply('STALE')
elseif not lease or (delivery and call[9] ~= fencing_token) then
  return reply('STALE')
end
if version ~= '' and version ~= case.version then
  return reply('MERGE', tonumber(case.version), redis.call('GET', content_key(case_id)),
    redis.call('GET', body_key(case_id)) or '')
end

if audit ~= '' then
  local appended, newest = append_audit(audit)
  if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end
end

if delivery then
  redis.call('HSET', call_key(call_id), 'ended_fencing_token', fencing_token, 'delivery_failure', failure,
    'delivery_detail', call[5] ~= '' and detail or '')
  if not was_asked then redis.call('HINCRBY', call_key(call_id), 'attempts_not_asked', 1) end
  local may_run_again = not was_asked or (status == 'FAILED' and case.mode ~= 'SINGLE')
  if may_run_again and backoff_ms ~= '' and call[5] ~= '' then
    redis.call('ZREM', leases_key(), call_id)
    schedule_attempt(case, call_id, now + backoff_ms)
    return reply('PENDING')
  end
end

local call_fields = {'failure', failure, 'keep_open', keep_open and '1' or '0'}
local function set_call_field(name, value)
  call_fields[#call_fields + 1], call_fields[#call_fields + 2] = name, value
end

if close then set_call_field('close', '1') end
local call_end = status
if status == 'SUCCEEDED' then call_end = close and 'CLOSED' or keep_open and 'KEPT_OPEN' or status end
if answer_digest ~= '' then
  set_call_field('answer_digest', answer_digest)
  set_call_field('answered_by', answered_by)
end
local window_ms = tonumber(call[11] or 0)
if no_repeat or case.no_repeat then
  set_call_field('no_repeat', '1')
  window_ms = 0
elseif window_ms > 0 then
  set_call_field('code', code)
end
if call[5] ~= '' then -- otherwise it was erased while it ran
  local replaced = call[13] and read_body('STRLEN', case_id, case.version, call[13]) or #(call[4] or '')
  local body_size = names_body and redis.call('STRLEN', body_key(case_id)) or #response_body
  release_body(case, call_id)
  if names_body then
    count_use(case, version, 'calls', 1)
    set_call_field('body_of', version)
  end
  local grown = #response + body_size - #call[3] - replaced
  set_call_field('response', response)
  set_call_field('response_body', response_body)
  set_call_field('detail', detail)
  set_call_field('size', call[2] + grown)
  case.recorded = case.recorded + grown
end
local effect = end_call_and_delivery(case, call_id, call_end, now, limits, delivery, call_fields)
local keeps_answer = call[12] or answer_digest ~= '' or window_ms > 0 -- for a caller who waits, or for repeats
if response ~= '' and keeps_answer then
  local answer = whole_response ~= '' and packed_answer(whole_response, whole_body)
    or packed_answer(response, response_body)
  keep_answer(case, call_id, answer, answer_digest ~= '' and ANSWER_MS or 0,
    call[5] ~= '' and window_ms or 0, now, repeat_bytes_per_case, whole_names_body)
end
return reply('OK', effect, delivery and redis.call('HGET', call_key(call_id), 'delivery') or '',
  case.status == 'OPEN' and '1' or '')
