#!lua flags=allow-oom
-- Records the end of an attempt of a delivery. Only the process that runs the attempt can do so, once; sent again, the
-- script changes nothing. A result that arrives after the lease counts, as long as no other attempt has started.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param call_id string
---@param fencing_token string of the attempt
---@param status string DELIVERED, DEAD, or PENDING
---@param failure string
---@param detail string
---@param response string '' = none
---@param response_body string
---@param names_body boolean whether a response with the body of the response at the claim shares it, in place of a copy
---@param request string what is kept of it after the delivery, '' = as it is
---@param request_body string the same of its body
---@param backoff_ms number until the next attempt
---@param close boolean whether a DELIVERED closes the case
---@param was_asked boolean whether the handler was asked
---@param was_tried boolean whether the attempt was made; otherwise it was given up before
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
-- Returns: reports, then OK, with 1 if the next delivery of an ordered case is due now, else 0,
--          1 if the case is closed by this delivery, else 0, and the status that was recorded ('' = the reminder was
--          dropped); STALE (another attempt has started, or the call is no longer kept).
-- Transition: of a delivery RUNNING -> the status. A delivery whose call was erased is DEAD in place of PENDING. A
--             reminder whose case is decided is dropped, unless it is DELIVERED. With `close`, of the case OPEN or
--             IN_PROGRESS -> CLOSED; its timeouts are applied first.
-- @include timeouts
-- @include types
-- @arguments

-- Returns what GET or STRLEN says of the body of the response that the call had at its claim, and has.
local function body_at_claim(command, case, call_id, version)
  if version then return read_body(command, case.id, case.version, version) end
  return redis.call(command == 'GET' and 'HGET' or 'HSTRLEN', call_key(call_id), 'response_body')
end

local call = redis.call('HMGET', call_key(call_id), 'delivery', 'attempts_started', 'ended_fencing_token', 'request',
  'request_body', 'delivery_response', 'delivery_body', 'size', 'body_of', 'delivery_shares_body')
if call[3] == fencing_token then return reply('OK', 0, 0, call[1] == 'RUNNING' and status or call[1]) end
if call[1] ~= 'RUNNING' or call[2] ~= fencing_token then return reply('STALE') end
local case = load_case(case_id)
if not case then return reply('STALE') end
check_types(case, {}, true)
if call[10] or names_body then redis.call('STRLEN', body_key(case_id)) end
local now = math.floor(now_us() / 1000)

if status ~= 'DELIVERED' and is_obsolete(case, call_id) then
  drop_reminder(case, call_id)
  return reply('OK', 0, 0, '')
end
redis.call('HSET', call_key(call_id), 'ended_fencing_token', fencing_token)
if was_tried then redis.call('HSET', call_key(call_id), 'delivery_failure', failure) end
if not was_asked then redis.call('HINCRBY', call_key(call_id), 'attempts_not_asked', 1) end
if call[4] == '' then
  if status == 'PENDING' then status = 'DEAD' end
elseif was_tried then
  local replaced = #(call[7] or '')
  if call[10] then replaced = body_at_claim('STRLEN', case, call_id, call[9]) or 0 end
  local size = call[8] + #response + #response_body - #(call[6] or '') - replaced
  local shares_body = names_body and response_body ~= '' and case.answer_mode == 'ACK'
    and body_at_claim('GET', case, call_id, call[9]) == response_body
  if shares_body then
    redis.call('HSET', call_key(call_id), 'delivery_shares_body', '1')
    response_body = ''
  elseif call[10] then
    redis.call('HDEL', call_key(call_id), 'delivery_shares_body')
  end
  redis.call('HSET', call_key(call_id), 'delivery_detail', detail, 'delivery_response', response,
    'delivery_body', response_body)
  if status == 'DELIVERED' and request ~= '' then
    size = size + #request + #request_body - #call[4] - #(call[5] or '')
    redis.call('HSET', call_key(call_id), 'request', request, 'request_body', request_body, 'partial', '1')
  end
  redis.call('HSET', call_key(call_id), 'size', size)
  case.recorded = case.recorded + size - call[8]
end
if status == 'PENDING' then
  write_totals(case)
  schedule_attempt(case, call_id, now + backoff_ms)
  return reply('OK', 0, 0, status)
end
local closes = false
if close and status == 'DELIVERED' then
  apply_timeouts(case, now, limits)
  closes = case.status ~= 'CLOSED'
  redis.call('HSET', call_key(call_id), 'close', '1')
end
if closes then
  close_case(case, CONSUMED, now)
  emit_event(case, 'CASE_CLOSED')
end
return reply('OK', end_delivery(case, call_id, status, now, limits) and 1 or 0, closes and 1 or 0, status)
