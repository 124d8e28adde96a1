#!lua
-- Gives a case that holds calls its answer, once. That is frozen in one step: a call that is held then, and whose hold
-- time has not ended, gets this answer and no other. Up to `limit` of them end in this step. The leases of the others
-- end too, so that the next execution, a sweep, or whatever touches such a call first ends it with the same answer.
-- Each later call ends in its claim. The case has no reminders any more.
--
-- A rejection of a case that is open again after it is no answer for later calls: it ends the calls that are held now.
--
-- Sent again with the same answer, the script ends the next calls.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param owner string '' = any
---@param digest string of the answer
---@param answered_by string the principal
---@param status string SUCCEEDED or REJECTED
---@param response string
---@param response_body string
---@param whole_response string the whole answer, '' = that is what is recorded
---@param whole_body string its body
---@param erased_response string what is left of the answer once it is erased
---@param code string of the answer, '' = a repeat gets none without the whole answer
---@param version string of the response of the case that the answer was merged with, '' = it does not depend on one
---@param up_to string the last call that a rejection of a retryable case ends, by its number
---@param limit number
---@param repeat_bytes_per_case number
---@param no_repeat boolean whether the answer must not be given twice
---@param audit string see includes/audit.lua, '' = no entry
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
-- Returns: reports, then OK, or AGAIN (nothing was left to
--          decide), with the number of calls that are still to end, and call_id and replica of each call that has
--          ended; UNKNOWN (no such case of this owner); NOT_HELD (the case holds no calls); CONFLICT (it has another
--          answer); CLOSED with its reason (and no held calls); MERGE with version, content and body of the response
--          that the case has now; HEAD_MOVED with the newest item of the audit.
-- Transition: of each held call its row of the life table. Timeouts are applied first.
-- @include audit
-- @include timeouts
-- @include types
-- @arguments

local case = load_owned_case(case_id, owner)
if not case then return reply('UNKNOWN') end
if case.answer_mode ~= 'HOLD' then return reply('NOT_HELD') end
check_types(case, redis.call('ZRANGE', held_key(case_id), 0, -1))
redis.call('XLEN', audit_key())
local now = math.floor(now_us() / 1000)
apply_timeouts(case, now, limits)
if case.resolved and case.resolved ~= digest then return reply('CONFLICT') end

local ended = {}
local function add_ended(call_id)
  ended[#ended + 1] = call_id
  ended[#ended + 1] = redis.call('HGET', call_key(call_id), 'replica')
end

local word = case.resolved and 'AGAIN' or 'OK'
if not case.resolved then
  local whole = whole_response ~= '' and packed_answer(whole_response, whole_body)
    or packed_answer(response, response_body)
  local answer = {status, response, response_body, whole, code, repeat_bytes_per_case, no_repeat and '1' or '',
    answered_by}
  local held = redis.call('ZRANGE', held_key(case_id), 0, -1)
  for _, call_id in ipairs(held) do -- apply_timeouts ends only the call that holds the case
    if tonumber(redis.call('ZSCORE', leases_key(), call_id)) <= now then end_hold(case, call_id, now, limits) end
  end
  held = redis.call('ZRANGE', held_key(case_id), 0, -1)
  if case.status == 'CLOSED' and #held == 0 then return reply('CLOSED', case.reason) end
  if version ~= '' and version ~= case.version then
    return reply('MERGE', tonumber(case.version), redis.call('GET', content_key(case_id)),
      redis.call('GET', body_key(case_id)) or '')
  end
  local is_for_held = status == 'REJECTED' and case.mode == 'RETRYABLE'
  local rejected = is_for_held and redis.call('ZRANGE', held_key(case_id), '-inf', up_to, 'BYSCORE')
  if is_for_held and not rejected[1] then return reply('AGAIN', 0) end
  local appended, newest = append_audit(audit)
  if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end
  if is_for_held then
    for _, call_id in ipairs(rejected) do
      add_ended(call_id)
      local effect = answer_held_call(case, call_id, digest, answer, ANSWER_MS, now, limits)
      REPORTS[#REPORTS + 1] = {'RESOLVED', call_id, case.activity, effect, status}
    end
    return reply('OK', 0, unpack(ended))
  end
  redis.call('HSET', resolution_key(case_id), 'status', status, 'response', response, 'response_body', response_body,
    'erased_response', erased_response, 'answer', whole, 'code', code, 'max_bytes', repeat_bytes_per_case,
    'no_repeat', no_repeat and '1' or '', 'answered_by', answered_by)
  redis.call('HSET', case_key(case_id), 'resolved', digest)
  case.resolved = digest
  drop_reminders(case)
  count_step(case)
  for _, call_id in ipairs(held) do redis.call('ZADD', leases_key(), now, call_id) end
end

for _, call_id in ipairs(redis.call('ZRANGE', held_key(case_id), 0, limit - 1)) do
  add_ended(call_id)
  end_hold(case, call_id, now, limits)
end
return reply(word, redis.call('ZCARD', held_key(case_id)), unpack(ended))
