#!lua
-- Claims a case for one call. A call on a case that answers its calls itself (activity `record`, or ACK) ends in the
-- same step; with ACK its delivery starts. So does a call that would be held, on a case that was resolved. Sent twice
-- with the same call_id, the script claims once and returns the same grant.
--
-- An event comes to an endpoint, and its correlation key says which case it is for. Its call_id begins with the name of
-- the key's pointer, in place of the id of the case. It is a call without a guard: its sender was verified already.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param state_hash_half string raw: the second half of the state's SHA-256
---@param call_id string
---@param request string what is recorded of the request
---@param request_hash string digest of the request as it was sent
---@param method string of the request as it was sent
---@param intent string a RequestIntent
---@param lease_ms number lease of a call that is not held
---@param max_held_calls number how many calls of a case are held at a time
---@param repeat_bytes_per_case number
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
---@param replica string gets a message with the answer to a held call, or when the call that a repeat waits with ends
---@param platform_url string '' = none
---@param can_deliver boolean whether the sender can run a delivery at once
---@param request_body string what is recorded of its body
---@param parameter string
---@param profile string the verification profile that was passed, '' = none
---@param message_hash string SHA-256 of the message id in hexadecimal digits, '' = none
---@param window_ms number how long after its call a message with this id is the same one
---@param calls_per_minute number rate limit of the case; 0 = any number
---@param whole_request string the request as it came, which a held call keeps until its end and a delivery until it is
--  delivered; '' = that is what is recorded
---@param whole_body string its body
---@param declared_leases string[] pairs: activity, lease_ms
---@param names_body boolean whether a call names the body of the response, in place of a copy
---@param limited_owners string[] fours: owner, retry_after_ms, limit, and HELD or OTHER if it is for calls that are
--  held, or for the others, alone
---@param refused_activities string[] the activities whose handlers cannot get a query as long as this one
---@param is_event boolean whether the case is found by its correlation key; state_hash_half and parameter are '' then
-- Returns: reports, then one of
--          CLAIMED or ENDED with number of the call, owner, activity, lease_left_ms (of ENDED: of the delivery
--          that the sender is to run, 0 = none), content and body as they were at the claim, with their version, the
--          effect of a call that has ended on its case ('' = none), answer mode ('' = HANDLER) and fallback ('' =
--          none), and the id of the case;
--          RESOLVED with number of the call, owner, activity, content, the effect on the case, status and answer ('' =
--          it was erased, and nothing is left of it), and the id of the case: the call has ended with the answer of its
--          case;
--          UNKNOWN: no case is reached by this hash and parameter, or waits for this event;
--          CLOSED with its reason, its closed response ('' = none), owner and alternative_domain;
--          BUSY: another call runs on a single-use case;
--          STALE: this call has ended already, or it ended at its claim and was erased, and the case has another
--          response;
--          FEATURE with its name: the case needs a feature that this server does not know;
--          VERIFY with profile, alternative_domain and owner: the case needs a profile that was not passed;
--          CONFIRM with content: a person must confirm, make a choice, or fill in fields;
--          AGENT: the sender must find out whether a program sends the request;
--          HANDSHAKE: the case is open, and no call was requested;
--          LONG_QUERY: the handler of the activity cannot get a query as long as this one;
--          LIMITED with retry_after_ms, limit (a setting or `held_calls`) and owner;
--          RUNS with the call_id of the earlier call of this request, which runs: the repeat waits with it, or its
--          caller got the fallback, or with 1: its caller was told to wait; BUSY if it has too many waiters;
--          REPEATED with the call_id of that call, if it has ended and its answer counts for this request: its status,
--          failure, the code of its answer, the method of its request, the answer ('' = it is not kept) and its
--          platform_url, owner and alternative_domain of the case, and whether it holds its calls, and is open ('1').
-- Transition: OPEN -> the status during a call (life table); a call that ends here: its row of the life table. A
--             redirect to /path without a platform fails. Timeouts are applied first, except where a profile was not
--             passed.
-- @include known_features
-- @include rate_limit
-- @include timeouts
-- @include types
-- @arguments

-- How long a caller is to wait where the case holds as many calls as it may, in milliseconds.
local HELD_RETRY_AFTER_MS = 5000

-- A copy of an event is a repeat of its call, whichever case of the correlation key had that.
local repeats_of, event_digest, copied = case_id, nil, nil
if is_event then
  event_digest = message_hash ~= '' and message_hash or string.sub(call_id, 34)
  copied = redis.call('GET', repeat_key(repeats_of, event_digest))
  if copied and string.sub(copied, 34) ~= string.sub(call_id, 34) then -- the store's clock may be behind
    local window = redis.call('HMGET', call_key(copied), 'end', 'window')
    if window[1] and window[2] and window[1] + window[2] <= math.floor(now_us() / 1000) then copied = nil end
  end
  case_id = copied and string.sub(copied, 1, 32) or redis.call('HGET', correlation_key(repeats_of), 'case')
  if not case_id then return reply('UNKNOWN') end
  call_id = case_id .. string.sub(call_id, 33)
end

local case = load_case(case_id)
local is_known = redis.call('HLEN', call_key(call_id)) > 0 -- mostly not, so its fields are not looked for
local known = is_known and redis.call('HMGET', call_key(call_id), 'status', 'attempt', 'response', 'response_body',
  'version', 'effect', 'answer_digest', 'body_of') or {}
if not case and known[1] then return reply('STALE') end
if not case then return reply('UNKNOWN') end
if not is_event and (case.sha ~= state_hash_half or case.parameter ~= parameter) then return reply('UNKNOWN') end
if unknown_feature(case) then return reply('FEATURE', unknown_feature(case)) end
local function alternative_domain()
  return settings_of(redis.call('GET', content_key(case_id)))[SETTING_ALTERNATIVE_DOMAIN]
end

if case.profile and case.profile ~= profile and not is_event then
  return reply('VERIFY', case.profile, alternative_domain(), case.owner)
end
if intent == 'OPTIONS' then return reply('UNKNOWN') end

local now = math.floor(now_us() / 1000)

local function grant(word, number, lease_left_ms, content, body, version, effect)
  local fallback = word == 'CLAIMED' and case.fallback and redis.call('GET', fallback_key(case_id)) or ''
  return reply(word, tonumber(number), case.owner, case.activity, lease_left_ms, content, body or '',
    tonumber(version), effect or '', case.answer_mode or '', fallback, case_id)
end

local function resolved(number, effect, status, answer)
  return reply('RESOLVED', tonumber(number), case.owner, case.activity, redis.call('GET', content_key(case_id)),
    effect or '', status, answer, case_id)
end

-- Returns what is left of the lease of the delivery's first attempt, which the sender of the claim runs.
local function delivery_left_ms()
  local delivery = redis.call('HMGET', call_key(call_id), 'delivery', 'attempts_started', 'at_claim')
  if delivery[1] ~= 'RUNNING' or delivery[2] ~= '1' or not delivery[3] then return 0 end
  return math.max(tonumber(redis.call('ZSCORE', due_key(case.activity), call_id)) - now, 0)
end

local known_body = known[8] and read_body('GET', case_id, case.version, known[8]) or known[4]
if known[1] == 'RUNNING' then
  local left = (tonumber(redis.call('ZSCORE', leases_key(), call_id)) or 0) - now -- without a lease: its delivery waits
  if left <= 0 then return reply('STALE') end
  return grant('CLAIMED', known[2], left, known[3], known_body, known[5])
elseif known[1] and ends_at_claim(case) and known[3] and (known_body or not known[8]) then
  return grant('ENDED', known[2], delivery_left_ms(), known[3], known_body, known[5], known[6])
elseif known[1] and ends_at_claim(case) and known[5] == case.version then -- erased, and the case has the same response
  return grant('ENDED', known[2], delivery_left_ms(), redis.call('GET', content_key(case_id)),
    redis.call('GET', body_key(case_id)), known[5], known[6])
elseif known[1] and case.resolved and known[7] == case.resolved then
  return resolved(known[2], known[6], known[1], redis.call('HGET', resolution_key(case_id), 'answer'))
elseif known[1] or copied == call_id then
  return reply('STALE')
end

check_types(case, {}, nil, keeps_status(case, now))
if case.fallback then redis.call('STRLEN', fallback_key(case_id)) end
local content = redis.call('GET', content_key(case_id))
redis.call('STRLEN', body_key(case_id)) -- what is refused needs its type alone
apply_timeouts(case, now, limits)

local arrival
-- Returns how long the limits on calls let this request wait, and the limit; 0 or less if they allow it now.
local function limited()
  local retry_after_ms, limit = limited_owner(case, limited_owners_first, limited_owners_last)
  if limit then return retry_after_ms, limit end
  retry_after_ms = 0
  if calls_per_minute > 0 then
    arrival, retry_after_ms = next_arrival(case, calls_per_minute)
  end
  return retry_after_ms, 'max_calls_per_minute_per_case'
end

-- A message is recognized by its id, and by nothing else. A GET that a person must confirm is never the same as an
-- earlier request, because the call was made by the confirmation.
local is_message = message_hash ~= ''
local digest = is_message and message_hash or request_hash
if not is_message and not is_event then window_ms = tonumber(case.repeat_window) end
local earlier = copied
if not is_event and window_ms > 0 and intent ~= 'HANDSHAKE' then
  earlier = redis.call('GET', repeat_key(case_id, digest))
end
local first = earlier and redis.call('HMGET', call_key(earlier), 'status', 'end', 'window') or {}
if first[2] and first[3] and first[2] + first[3] <= now then earlier = nil end -- the store's clock is behind
if earlier then
  if case.guard == 'DETECT' and intent == 'GET' then return reply('AGENT') end
  local retry_after_ms, limit = limited()
  if retry_after_ms > 0 then return reply('LIMITED', retry_after_ms, limit, case.owner) end
  local status = first[1]
  if status == 'RUNNING' then -- apply_timeouts does not end the lease of a call on a case for multiple calls
    local lease = tonumber(redis.call('ZSCORE', leases_key(), earlier))
    if lease and lease <= now then end_lease(case, earlier, now, limits) end
    status = redis.call('HGET', call_key(earlier), 'status')
  end
  if status == 'RUNNING' then
    -- After the fallback, a repeat gets it too and does not wait. Where the caller was told to wait, so is a repeat.
    local sent = redis.call('HMGET', call_key(earlier), 'fallback_sent', 'wait_hash')
    if not sent[1] and not sent[2] and not add_waiter(earlier, call_id, replica, now) then return reply('BUSY') end
    count_repeat(earlier, call_id)
    return reply('RUNS', earlier, not sent[1] and sent[2] and 1 or 0)
  end
  if case.status == 'CLOSED' or (status == 'SUCCEEDED' and (is_message or case.mode == 'MULTIPLE')) then
    count_repeat(earlier, call_id)
    return reply('REPEATED', answer_again(case, earlier))
  end
end

if case.status == 'CLOSED' then
  local response = case.closed_response and intent ~= 'HANDSHAKE' and redis.call('GET', closed_response_key(case_id))
  return reply('CLOSED', case.reason, response or '', case.owner, response and alternative_domain() or '')
end
local is_held = case.answer_mode == 'HOLD'
for i = refused_activities_first, refused_activities_last do -- before a person confirms what would be refused then
  if ARGV[i] == case.activity and not is_held and intent ~= 'HANDSHAKE' then return reply('LONG_QUERY') end
end
if case.guard == 'CONFIRM' and (intent == 'GET' or intent == 'PERSON' or intent == 'FORM'
    or case.choices and intent ~= 'CONFIRMED') then
  return reply('CONFIRM', content)
end
if case.guard == 'DETECT' and intent == 'GET' then return reply('AGENT') end
if case.status == IN_PROGRESS then return reply('BUSY') end
if intent == 'HANDSHAKE' then return reply('HANDSHAKE') end

if is_held and not case.resolved and redis.call('ZCARD', held_key(case_id)) >= max_held_calls then
  return reply('LIMITED', HELD_RETRY_AFTER_MS, 'held_calls', case.owner)
end
local retry_after_ms, limit = limited()
if retry_after_ms > 0 then return reply('LIMITED', retry_after_ms, limit, case.owner) end

if is_held then
  lease_ms = tonumber(redis.call('HGET', case_key(case_id), 'hold_ms'))
else
  for i = declared_leases_first, declared_leases_last, 2 do
    if ARGV[i] == case.activity then lease_ms = tonumber(ARGV[i + 1]) end
  end
end
local partial = whole_request ~= ''
if partial and case.answer_mode == 'ACK' then request, request_body, partial = whole_request, whole_body, false end
local recorded_request, recorded_body = request, request_body
local is_kept_while_held = partial and is_held
if is_kept_while_held then request, request_body = whole_request, whole_body end
local body = redis.call('GET', body_key(case_id)) or ''
local number = case.call_count + 1
local size = #request + #request_body + #content + #body

local call_fields = {'attempt', number, 'start', now, 'request', request, 'request_body', request_body, 'response',
  content, 'version', case.version, 'size', size}
local function set_call_field(name, value)
  call_fields[#call_fields + 1], call_fields[#call_fields + 2] = name, value
end

local names_it = names_body and body ~= '' and count_use(case, case.version, 'calls', 1)
if names_it then
  set_call_field('body_of', case.version)
elseif body ~= '' then
  set_call_field('response_body', body)
end
if partial then set_call_field('partial', '1') end
if is_kept_while_held then
  set_call_field('recorded_request', recorded_request)
  if recorded_body ~= request_body then set_call_field('drops_body', '1') end
end
if window_ms > 0 then
  set_call_field('digest', digest)
  set_call_field('window', window_ms)
  if method ~= 'get' then set_call_field('method', method) end
  if is_event then set_call_field('digest_of', repeats_of) end
  redis.call('SET', repeat_key(repeats_of, digest), call_id)
elseif is_event then
  redis.call('SET', repeat_key(repeats_of, event_digest), call_id, 'PX', RESENT_MS)
end
case.call, case.unfinished, case.recorded = call_id, case.unfinished + 1, case.recorded + size
if arrival then redis.call('HSET', case_key(case_id), 'arrival', arrival) end
local ends_now = ends_at_claim(case) or (is_held and case.resolved)
local status = ends_now and case.status or status_during_call(case.mode)
if status ~= case.status then
  set_case_status(case, status, 'call_count', number, 'call', call_id, 'unfinished', case.unfinished,
    'recorded', count_recorded(case))
else
  redis.call('HSET', case_key(case_id), 'call_count', number, 'call', call_id, 'unfinished', case.unfinished,
    'recorded', count_recorded(case))
end
redis.call('ZADD', calls_key(case_id), number, call_id)

if ends_at_claim(case) then
  local effect, running
  if case.path == '1' and platform_url == '' then
    set_call_field('failure', 'INVALID_RESPONSE')
    set_call_field('detail', '/path needs a platform_url')
    effect = end_call(case, call_id, 'FAILED', now, limits, nil, call_fields)
  else
    if case.path == '1' then set_call_field('platform_url', platform_url) end
    if window_ms > 0 and case.no_repeat then
      set_call_field('no_repeat', '1')
    elseif window_ms > 0 then
      local code = case.code or ''
      set_call_field('code', code == '0' and '' or code ~= '' and code or '200')
    end
    effect = end_call(case, call_id, 'SUCCEEDED', now, limits, case.answer_mode == 'ACK', call_fields)
    if window_ms > 0 and not case.no_repeat then -- otherwise only a caller that waits would get it, and no one does yet
      keep_answer(case, call_id, packed_answer(content, names_it and '' or body), 0, window_ms, now,
        repeat_bytes_per_case, names_it)
    end
    can_deliver = can_deliver and redis.call('HEXISTS', pauses_key(), case.activity) == 0
    running = case.answer_mode == 'ACK' and start_delivery(case, call_id, now, can_deliver and lease_ms or nil)
  end
  return grant('ENDED', number, running and lease_ms or 0, content, body, case.version, effect)
end
redis.call('HSET', call_key(call_id), 'status', 'RUNNING', unpack(call_fields))
if is_held and case.resolved then return resolved(number, end_resolved(case, call_id, 0, now, limits)) end
redis.call('ZADD', leases_key(), now + lease_ms, call_id)
if is_held then
  redis.call('HSET', call_key(call_id), 'replica', replica)
  redis.call('ZADD', held_key(case_id), number, call_id)
  redis.call('ZADD', waiting_key(case.owner), now, call_id)
end
emit_event(case, 'CALL_STARTED', call_id, 'RUNNING')
return grant('CLAIMED', number, lease_ms, content, body, case.version)
