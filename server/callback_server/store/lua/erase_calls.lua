#!lua flags=allow-oom
-- Erases the recorded data of the calls of a case, newest first, up to `limit` calls at a time. An erased call stays
-- erased: if it still runs, its end records only its status. A waiting delivery becomes DEAD, because its request is
-- erased. A notification has no request: what its handler said about its failure is erased, and its delivery goes on.
--
-- The answer of a case that was resolved is erased too. The calls that wait for it get it first. Later ones get what is
-- left: its code, or nothing in place of a redirect.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param owner string '' = any
---@param erasure string a unique name, the same when the request is sent again
---@param before string the number of a call; '+inf' = all
---@param limit number
---@param audit string see includes/audit.lua, '' = no entry
-- Returns: reports, then OK with the number of calls that had something recorded until this erasure, the number before
--          which to continue (0 = there are no more), and 1 if the entry of the audit is there (else 0: there was
--          nothing to erase); UNKNOWN (no such case of this owner); HEAD_MOVED with the
--          newest item of the audit.
-- Transition: of a delivery PENDING -> DEAD, which ends its call if that still runs; of each held call of a resolved
--             case its row of the life table.
-- @include audit
-- @include timeouts
-- @include types
-- @arguments

local case = load_owned_case(case_id, owner)
if not case then return reply('UNKNOWN') end

local now = math.floor(now_us() / 1000)
-- Without limits: a call that is deleted here would not be counted when the request is sent again.
local no_limits = {recorded_calls_per_case = math.huge, recorded_bytes_per_case = math.huge}

local function erase_request(call_id)
  case.recorded = case.recorded - redis.call('HGET', call_key(call_id), 'size')
  redis.call('HSET', call_key(call_id), 'request', '', 'size', 0, 'erasure', erasure)
  redis.call('HDEL', call_key(call_id), 'request_body', 'recorded_request', 'drops_body')
end

local function erase_resolution()
  for _, call_id in ipairs(redis.call('ZRANGE', held_key(case_id), 0, -1)) do
    if redis.call('HGET', call_key(call_id), 'request') ~= '' then erase_request(call_id) end
    end_hold(case, call_id, now, no_limits)
  end
  local left = redis.call('HMGET', resolution_key(case_id), 'code', 'erased_response')
  redis.call('HSET', resolution_key(case_id), 'response', left[2], 'response_body', '', 'answer',
    left[1] ~= '' and packed_answer(left[2], '') or '')
end

-- Returns the calls of this step with their numbers.
local function calls_to_erase()
  return redis.call('ZRANGE', calls_key(case_id), before == '+inf' and before or '(' .. before, '-inf', 'BYSCORE',
    'REV', 'LIMIT', 0, limit, 'WITHSCORES')
end

-- Returns whether this step has anything to erase.
local function finds_data()
  local found = false
  for i, call_id in ipairs(calls_to_erase()) do
    if i % 2 == 1 and redis.call('HGET', call_key(call_id), 'request') ~= '' then found = true end
  end
  if before ~= '+inf' then return found end
  if redis.call('EXISTS', answers_key(case_id)) == 1 then found = true end
  if case.resolved then
    local left = redis.call('HMGET', resolution_key(case_id), 'response', 'response_body', 'erased_response')
    if left[1] ~= left[3] or left[2] ~= '' then found = true end
  end
  for _, call_id in ipairs(notifications_of(case)) do
    if redis.call('HEXISTS', call_key(call_id), 'delivery_detail') == 1 then found = true end
  end
  return found
end

check_types(case, redis.call('ZRANGE', held_key(case_id), 0, -1), true)
redis.call('XLEN', audit_key())
local has_data = finds_data()
local has_entry = has_data
if has_data then
  local appended, newest = append_audit(audit)
  if appended == 'MOVED' then return reply('HEAD_MOVED', newest) end
elseif audit ~= '' then
  has_entry = is_audited(audit)
end
if before == '+inf' then
  erase_answers(case)
  if case.resolved then erase_resolution() end
  for _, call_id in ipairs(notifications_of(case)) do redis.call('HDEL', call_key(call_id), 'delivery_detail') end
end
local calls = calls_to_erase()
local erased, dead = 0, {}
for i = 1, #calls, 2 do
  local call_id = calls[i]
  local call = redis.call('HMGET', call_key(call_id), 'status', 'size', 'request', 'erasure', 'delivery')
  if call[3] ~= '' or call[4] == erasure then erased = erased + 1 end
  if call[3] ~= '' then
    -- A running call keeps the response of its case, for a claim that is sent again. The end of the call removes it.
    if call[1] ~= 'RUNNING' then
      if redis.call('ZSCORE', ended_key(), call_id) then case.bytes = case.bytes - call[2] end
      erase_outcome(case, call_id)
    end
    erase_request(call_id)
    if call[5] == 'PENDING' then dead[#dead + 1] = call_id end
    redis.call('ZREM', dead_key(case.owner), call_id)
  end
end
write_totals(case)
if has_data then count_step(case) end
for _, call_id in ipairs(dead) do
  local call = redis.call('HMGET', call_key(call_id), 'status', 'attempts_started', 'attempts_not_asked',
    'delivery_failure')
  if call[1] == 'RUNNING' then
    redis.call('HSET', call_key(call_id), 'failure', call[4])
    end_call_and_delivery(case, call_id, call[2] == call[3] and 'NOT_STARTED' or 'FAILED', now, no_limits, true)
  else
    end_delivery(case, call_id, 'DEAD', now, no_limits)
  end
end
return reply('OK', erased, #calls == 2 * limit and tonumber(calls[#calls]) or 0, has_entry and 1 or 0)
