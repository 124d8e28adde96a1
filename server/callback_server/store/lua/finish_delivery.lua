#!lua flags=allow-oom
-- Records what an attempt of a delivery came to. Only who runs it can, once; sent again, it changes nothing. One that
-- comes after its lease counts, as long as no other attempt has begun.
--
-- KEYS: partition
-- ARGV: case_id, call_id, attempt, status (DELIVERED, DEAD, or PENDING), asked ('1', or '' if it was given up before the
--       handler was asked), wait_ms (until the next attempt), failure, detail, response ('' = none), response_body, request,
--       request_body (what is kept of them once it is delivered, '' = as they are), keep_calls, keep_bytes
-- Returns: OK, and 1 if the next delivery of an ordered case is due by that, else 0; STALE (another attempt has begun, or
--          the call is no longer kept).
-- Transition: of a delivery RUNNING -> the status; one whose call was erased is DEAD instead of PENDING.
-- @include life
-- @include delivery

local case_id, call_id, attempt, status, asked, wait_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1', ARGV[6]
local failure, detail, response, response_body = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local request, request_body = ARGV[11], ARGV[12]
local keep = {calls = tonumber(ARGV[13]), bytes = tonumber(ARGV[14])}

local call = redis.call('HMGET', call_key(call_id), 'delivery', 'tries', 'tried', 'request', 'request_body', 'd_response',
  'd_body', 'size')
if call[3] == attempt then return {'OK', 0} end
if call[1] ~= 'RUNNING' or call[2] ~= attempt then return {'STALE'} end
local case = load_case(case_id)
local now = math.floor(now_us() / 1000)

redis.call('HSET', call_key(call_id), 'tried', attempt)
if asked then redis.call('HSET', call_key(call_id), 'd_failure', failure) end
if not asked then redis.call('HINCRBY', call_key(call_id), 'unasked', 1) end
if call[4] == '' then
  if status == 'PENDING' then status = 'DEAD' end
elseif asked then
  local size = call[8] + #response + #response_body - #(call[6] or '') - #(call[7] or '')
  redis.call('HSET', call_key(call_id), 'd_detail', detail, 'd_response', response, 'd_body', response_body)
  if status == 'DELIVERED' and request ~= '' then
    size = size + #request + #request_body - #call[4] - #(call[5] or '')
    redis.call('HSET', call_key(call_id), 'request', request, 'request_body', request_body, 'partial', '1')
  end
  redis.call('HSET', call_key(call_id), 'size', size)
end
if status == 'PENDING' then
  wait(case, call_id, now + wait_ms)
  return {'OK', 0}
end
return {'OK', conclude(case, call_id, status, now, keep) and 1 or 0}
