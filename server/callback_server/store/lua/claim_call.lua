#!lua
-- Claims a case for one call. A call of the activity `record` has no handler: it ends here, in the same step.
-- Sent twice with the same call_id, it claims once and gives the same grant.
--
-- KEYS: partition
-- ARGV: case_id, sha (raw), parameter, call_id, request, request_body, lease_ms, keep_calls, keep_bytes, platform_url
--       ('' = none), asking (the domain's word), profile (that was passed, '' = none), message (SHA-256 of its id in hexadecimal digits, '' =
--       none), window_ms (for how long that is the same message), calls_per_minute (of a case, 0 = any number),
--       leases (how many values of the next kind), then pairs of activity and lease_ms for those that differ, then
--       pairs of owner and wait_ms for those that have made too many calls
-- Returns: what was due, then
--          CLAIMED or RECORDED with attempt, owner, activity, mode, lease_left_ms, content, body as they were at the claim,
--          and what the end of a recorded one made of the case ('' = nothing);
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

local case_id, sha, parameter, call_id, request, request_body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lease_ms, keep = tonumber(ARGV[7]), {calls = tonumber(ARGV[8]), bytes = tonumber(ARGV[9])}
local platform_url, asking, profile, message, window_ms = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local calls_per_minute, first_owner = tonumber(ARGV[15]), 17 + tonumber(ARGV[16])

local case = load_case(case_id)
local mine = redis.call('HMGET', call_key(call_id), 'status', 'attempt', 'response', 'response_body', 'version',
  'made')
if not case and mine[1] then return reply('STALE') end
if not case or case.sha ~= sha or case.parameter ~= parameter then return reply('UNKNOWN') end
if case.profile and case.profile ~= profile then
  return reply('VERIFY', case.profile, cmsgpack.unpack(redis.call('GET', content_key(case_id)))[1][2])
end
if asking == 'OPTIONS' then return reply('UNKNOWN') end

local now = math.floor(now_us() / 1000)

local function grant(word, attempt, lease_left_ms, content, body, made)
  return reply(word, tonumber(attempt), case.owner, case.activity, case.mode, lease_left_ms, content, body or '', made or '')
end

if mine[1] == 'RUNNING' then
  local left = tonumber(redis.call('ZSCORE', leases_key(), call_id)) - now
  if left <= 0 then return reply('STALE') end
  return grant('CLAIMED', mine[2], left, mine[3], mine[4])
elseif mine[1] and case.activity == 'record' and mine[3] then
  return grant('RECORDED', mine[2], 0, mine[3], mine[4], mine[6])
elseif mine[1] and case.activity == 'record' and mine[5] == case.version then -- erased, and the case says the same still
  return grant('RECORDED', mine[2], 0, redis.call('GET', content_key(case_id)), redis.call('GET', body_key(case_id)),
    mine[6])
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
if case.guard == 'CONFIRM' and (asking == 'GET' or asking == 'PERSON' or asking == 'FORM') then return reply('CONFIRM') end
if case.guard == 'DETECT' and asking == 'GET' then return reply('AGENT') end
if case.status == 'IN_PROGRESS' then return reply('BUSY') end
if asking == 'HANDSHAKE' then return reply('HANDSHAKE') end

for i = first_owner, #ARGV, 2 do
  if ARGV[i] == case.owner then return reply('LIMITED', tonumber(ARGV[i + 1])) end
end
local arrival
if calls_per_minute > 0 then -- GCRA: a case's calls may arrive a minute's worth ahead of their even pace
  local us, interval = now_us(), math.floor(60000000 / calls_per_minute)
  arrival = math.max(tonumber(case.arrival or 0), us) + interval
  local early = arrival - us - calls_per_minute * interval
  if early > 0 then return reply('LIMITED', math.ceil(early / 1000)) end
end

for i = 17, first_owner - 1, 2 do
  if ARGV[i] == case.activity then lease_ms = tonumber(ARGV[i + 1]) end
end
local content = redis.call('GET', content_key(case_id))
local body = redis.call('GET', body_key(case_id)) or ''
local attempt = case.attempts + 1
local size = #request + #request_body + #content + #body

redis.call('HSET', call_key(call_id), 'status', 'RUNNING', 'attempt', attempt, 'start', now, 'request', request,
  'request_body', request_body, 'response', content, 'version', case.version, 'size', size)
if body ~= '' then redis.call('HSET', call_key(call_id), 'response_body', body) end
if message ~= '' then
  redis.call('HSET', call_key(call_id), 'message', message)
  redis.call('SET', message_key(case_id, message), call_id, 'PX', window_ms)
end
redis.call('HSET', case_key(case_id), 'attempts', attempt, 'call', call_id)
if arrival then redis.call('HSET', case_key(case_id), 'arrival', arrival) end
redis.call('HINCRBY', case_key(case_id), 'running', 1)
redis.call('ZADD', calls_key(case_id), attempt, call_id)
case.call = call_id

if case.activity == 'record' then
  local made
  if case.path == '1' and platform_url == '' then
    redis.call('HSET', call_key(call_id), 'failure', 'INVALID_RESPONSE', 'detail', '/path needs a platform_url')
    made = end_call(case, call_id, 'FAILED', false, now, keep)
  else
    if case.path == '1' then redis.call('HSET', call_key(call_id), 'platform_url', platform_url) end
    made = end_call(case, call_id, 'SUCCEEDED', false, now, keep)
  end
  return grant('RECORDED', attempt, 0, content, body, made)
end
redis.call('ZADD', leases_key(), now + lease_ms, call_id)
if case.mode ~= 'MULTIPLE' then move(case, 'IN_PROGRESS') end
return grant('CLAIMED', attempt, lease_ms, content, body)
