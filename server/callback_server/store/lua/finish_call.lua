#!lua flags=allow-oom
-- Records the end of a call. Only the holder of the call_id can, once, and of a held one whoever answers it first; sent
-- again with the same status and answer, it changes nothing.
-- A call whose lease is over ends as INTERRUPTED whatever its holder says.
--
-- KEYS: partition
-- ARGV: case_id, call_id, status, keep_open ('1' or '0'), failure, detail, response ('' = none), response_body,
--       keep_calls, keep_bytes, answered (a digest of what a held call is answered, '' = it is not), answer (that answer,
--       whole, '' = none), answer_ms (for how long it is kept for its caller)
-- Returns: what was due, then OK, or AGAIN (it had ended so before), with what the end made of the case ('' = nothing);
--          STALE (the call has ended otherwise, or is no longer kept).
-- Transition: the life table; a case that has been closed meanwhile stays as it is.
-- @include life

local case_id, call_id, status, keep_open = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local failure, detail, response, response_body = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local keep = {calls = tonumber(ARGV[9]), bytes = tonumber(ARGV[10])}
local answered, answer, answer_ms = ARGV[11], ARGV[12], ARGV[13]

local case = load_case(case_id)
local call = redis.call('HMGET', call_key(call_id), 'status', 'size', 'response', 'response_body', 'request',
  'made', 'answered')
if call[1] ~= 'RUNNING' then
  if call[1] == status and (call[7] or '') == answered then return reply('AGAIN', call[6] or '') end
  return reply('STALE')
end

local now = math.floor(now_us() / 1000)
settle(case, now, keep)
if redis.call('HGET', call_key(call_id), 'status') ~= 'RUNNING' then return reply('STALE') end
if tonumber(redis.call('ZSCORE', leases_key(), call_id)) <= now then
  end_call(case, call_id, 'INTERRUPTED', false, now, keep)
  return reply('STALE')
end

redis.call('HSET', call_key(call_id), 'failure', failure, 'keep_open', keep_open and '1' or '0')
if answered ~= '' then
  redis.call('HSET', call_key(call_id), 'answered', answered)
  redis.call('SET', answer_key(call_id), answer, 'PX', answer_ms)
end
if call[5] ~= '' then -- else it was erased while it ran
  local grown = #response + #response_body - #call[3] - #(call[4] or '')
  redis.call('HSET', call_key(call_id), 'response', response, 'response_body', response_body, 'detail', detail,
    'size', call[2] + grown)
end
return reply('OK', end_call(case, call_id, status, keep_open, now, keep))
