#!lua
-- Claims a case for one call. A call of the activity `record` has no handler: it ends here, in the same step. So does one
-- of an ACK case, and its delivery begins.
-- Sent twice with the same call_id, it claims once and gives the same grant.
--
-- KEYS: partition
-- ARGV: case_id, sha (raw, what follows the id), parameter, call_id, request, request_body (as they are kept),
--       whole_request, whole_body (as they came, if that is something else; '' = it is not), lease_ms, hold_lease_ms (of a
--       held call), holder (who asks, to be told of the answer to a held call), takes ('1' if who asks can run a delivery
--       at once), keep_calls, keep_bytes, platform_url ('' = none), intent (the domain's word), profile (that was passed,
--       '' = none), message (SHA-256 of its id in hexadecimal digits, '' = none), window_ms (for how long that is the same
--       message), calls_per_minute (of a case, 0 = any number), and two lists, each after how many values it has: of
--       activity and lease_ms for those that are declared; of owner and wait_ms for those that have made too many calls
-- Returns: what was due, then
--          CLAIMED or RECORDED with attempt, owner, activity, mode, lease_left_ms (of a recorded one: of the delivery that
--          who asks is to run, 0 = none), content, body as they were at the claim, what the end of a recorded one made of
--          the case ('' = nothing), answer ('' = HANDLER) and fallback ('' = none);
--          UNKNOWN (no case is reached by this hash and parameter); CLOSED with its reason; BUSY; STALE (this call has
--          ended already; or it is a recorded one that was erased, and the case's response is another one by now);
--          VERIFY with profile and alternative_domain (the case asks for a profile that was not passed); CONFIRM (a person
--          must confirm); AGENT (it must be looked at whether a person asks);
--          HANDSHAKE (the case is open, and no call was asked for); LIMITED with wait_ms;
--          REPEATED with the call_id of the message's call, and content, body and platform_url of what it was answered,
--          or of the case's own response if that is no longer kept.
-- Transition: OPEN -> IN_PROGRESS (single use), OPEN -> OPEN (multiple); with `record` what its success makes of it, or
--             its failure if it is a redirect to /path and there is no platform. What was due before (a lease's end, the
--             expiry) happens first; but where a profile was not passed, nothing does.
-- @include life
-- @include delivery

local case_id, sha, parameter, call_id, request, request_body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local whole_request, whole_body, lease_ms, hold_lease_ms = ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local holder, takes, keep = ARGV[11], ARGV[12] == '1', {calls = tonumber(ARGV[13]), bytes = tonumber(ARGV[14])}
local platform_url, intent, profile, message, window_ms = ARGV[15], ARGV[16], ARGV[17], ARGV[18], ARGV[19]
local calls_per_minute = tonumber(ARGV[20])
local leases_at = 21
local owners_at = leases_at + 1 + tonumber(ARGV[leases_at])

local case = load_case(case_id)
local mine = redis.call('HMGET', call_key(call_id), 'status', 'attempt', 'response', 'response_body', 'version',
  'made')
if not case and mine[1] then return reply('STALE') end
if not case or string.sub(case.sha, -16) ~= sha or case.parameter ~= parameter then return reply('UNKNOWN') end
if case.profile and case.profile ~= profile then
  return reply('VERIFY', case.profile, settings_of(redis.call('GET', content_key(case_id)))[2])
end
if intent == 'OPTIONS' then return reply('UNKNOWN') end

local now = math.floor(now_us() / 1000)

local function grant(word, attempt, lease_left_ms, content, body, made)
  local fallback = word == 'CLAIMED' and case.fallback and redis.call('GET', fallback_key(case_id)) or ''
  return reply(word, tonumber(attempt), case.owner, case.activity, case.mode, lease_left_ms, content, body or '',
    made or '', case.answer or '', fallback)
end

-- What is left of the lease of a delivery's first attempt, which is for who made the call.
local function delivery_left_ms()
  local delivery = redis.call('HMGET', call_key(call_id), 'delivery', 'tries', 'at_once')
  if delivery[1] ~= 'RUNNING' or delivery[2] ~= '1' or not delivery[3] then return 0 end
  return math.max(tonumber(redis.call('ZSCORE', due_key(case.activity), call_id)) - now, 0)
end

if mine[1] == 'RUNNING' then
  local left = tonumber(redis.call('ZSCORE', leases_key(), call_id)) - now
  if left <= 0 then return reply('STALE') end
  return grant('CLAIMED', mine[2], left, mine[3], mine[4])
elseif mine[1] and answers_itself(case) and mine[3] then
  return grant('RECORDED', mine[2], delivery_left_ms(), mine[3], mine[4], mine[6])
elseif mine[1] and answers_itself(case) and mine[5] == case.version then -- erased, and the case says the same still
  return grant('RECORDED', mine[2], delivery_left_ms(), redis.call('GET', content_key(case_id)),
    redis.call('GET', body_key(case_id)), mine[6])
elseif mine[1] then
  return reply('STALE')
end

settle(case, now, keep)

-- A message that has come before is no other call while that one runs, or once it has succeeded, whatever became of the
-- case since. The end of a lease is due here too: settle leaves it where the case allows multiple calls.
local earlier = message ~= '' and redis.call('GET', message_key(case_id, message))
if earlier then
  local call = redis.call('HMGET', call_key(earlier), 'status', 'response', 'response_body', 'platform_url')
  if call[1] == 'RUNNING' and tonumber(redis.call('ZSCORE', leases_key(), earlier)) > now then return reply('BUSY') end
  if call[1] == 'RUNNING' then end_call(case, earlier, 'INTERRUPTED', false, now, keep) end
  if call[1] == 'SUCCEEDED' and call[2] then
    return reply('REPEATED', earlier, call[2], call[3] or '', call[4] or '')
  elseif call[1] == 'SUCCEEDED' then
    return reply('REPEATED', earlier, redis.call('GET', content_key(case_id)), redis.call('GET', body_key(case_id)) or '',
      platform_url)
  end
end

if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end
if case.guard == 'CONFIRM' and (intent == 'GET' or intent == 'PERSON' or intent == 'FORM') then return reply('CONFIRM') end
if case.guard == 'DETECT' and intent == 'GET' then return reply('AGENT') end
if case.status == 'IN_PROGRESS' then return reply('BUSY') end
if intent == 'HANDSHAKE' then return reply('HANDSHAKE') end

for i = owners_at + 1, #ARGV, 2 do
  if ARGV[i] == case.owner then return reply('LIMITED', tonumber(ARGV[i + 1])) end
end
local arrival
if calls_per_minute > 0 then -- GCRA: a case's calls may arrive a minute's worth ahead of their even pace
  local us, interval = now_us(), math.floor(60000000 / calls_per_minute)
  arrival = math.max(tonumber(case.arrival or 0), us) + interval
  local early = arrival - us - calls_per_minute * interval
  if early > 0 then return reply('LIMITED', math.ceil(early / 1000)) end
end

if case.answer == 'HOLD' then lease_ms = hold_lease_ms end
for i = leases_at + 1, owners_at - 1, 2 do
  if ARGV[i] == case.activity then lease_ms = tonumber(ARGV[i + 1]) end
end
local partial = whole_request ~= ''
if partial and case.answer == 'ACK' then request, request_body, partial = whole_request, whole_body, false end
local content = redis.call('GET', content_key(case_id))
local body = redis.call('GET', body_key(case_id)) or ''
local attempt = case.attempts + 1
local size = #request + #request_body + #content + #body

redis.call('HSET', call_key(call_id), 'status', 'RUNNING', 'attempt', attempt, 'start', now, 'request', request,
  'request_body', request_body, 'response', content, 'version', case.version, 'size', size)
if body ~= '' then redis.call('HSET', call_key(call_id), 'response_body', body) end
if partial then redis.call('HSET', call_key(call_id), 'partial', '1') end
if message ~= '' then
  redis.call('HSET', call_key(call_id), 'message', message)
  redis.call('SET', message_key(case_id, message), call_id, 'PX', window_ms)
end
redis.call('HSET', case_key(case_id), 'attempts', attempt, 'call', call_id)
if arrival then redis.call('HSET', case_key(case_id), 'arrival', arrival) end
redis.call('HINCRBY', case_key(case_id), 'running', 1)
redis.call('ZADD', calls_key(case_id), attempt, call_id)
case.call = call_id

if answers_itself(case) then
  local made, running
  if case.path == '1' and platform_url == '' then
    redis.call('HSET', call_key(call_id), 'failure', 'INVALID_RESPONSE', 'detail', '/path needs a platform_url')
    made = end_call(case, call_id, 'FAILED', false, now, keep)
  else
    if case.path == '1' then redis.call('HSET', call_key(call_id), 'platform_url', platform_url) end
    made = end_call(case, call_id, 'SUCCEEDED', false, now, keep, case.answer == 'ACK')
    takes = takes and redis.call('HEXISTS', pauses_key(), case.activity) == 0
    running = case.answer == 'ACK' and deliver(case, call_id, now, takes and lease_ms or nil)
  end
  return grant('RECORDED', attempt, running and lease_ms or 0, content, body, made)
end
redis.call('ZADD', leases_key(), now + lease_ms, call_id)
if case.answer == 'HOLD' then
  redis.call('HSET', call_key(call_id), 'holder', holder)
  redis.call('ZADD', waiting_key(case.owner), now, call_id)
end
if case.mode ~= 'MULTIPLE' then move(case, 'IN_PROGRESS') end
emit(case, 'CALL_STARTED', call_id, 'RUNNING')
return grant('CLAIMED', attempt, lease_ms, content, body)
