-- What is kept of the ended calls of a case, and for how long.
-- @include life_constants
-- @include repeats

-- How long the tombstone of a deleted call is kept: longer than a claim or an end is sent again (310 s), in
-- milliseconds.
local TOMBSTONE_MS = 330000

-- Writes the number of the unfinished calls of a case, those that run or have a delivery, and the bytes of the others.
local function write_totals(case)
  redis.call('HSET', case_key(case.id), 'unfinished', case.unfinished, 'bytes', case.bytes)
end

-- Erases the outcome of an ended call, except its status.
local function erase_outcome(call_id)
  redis.call('HDEL', call_key(call_id), 'response', 'response_body', 'platform_url', 'detail', 'delivery_detail',
    'delivery_response', 'delivery_body')
end

-- Returns whether a call on this case ends in its claim, because the case answers it.
local function ends_at_claim(case) return case.activity == RECORD or case.answer_mode == 'ACK' end

-- Deletes an ended call, and takes its bytes from the totals of its case, which the caller writes. Its tombstone
-- remains, which no query finds: it answers a claim or a finish that is sent again, and a repeat for as long as the
-- window of the call.
---@return boolean deleted: not if its key has a wrong type
local function delete_call(case, call_id)
  local call = redis.pcall('HMGET', call_key(call_id), 'size', 'digest', 'delivery', 'wait_hash')
  if call.err then return false end
  case.bytes = case.bytes - call[1]
  redis.call('HDEL', call_key(call_id), 'request', 'request_body')
  -- Only where the case answers its calls, a claim that is sent again returns the response.
  if not ends_at_claim(case) then erase_outcome(call_id) end
  if call[3] then redis.call('ZREM', dead_key(case.owner), call_id) end
  local known_ms = call[2] and redis.call('PTTL', repeat_key(case.id, call[2])) or 0
  if call[4] then known_ms = math.max(known_ms, WAITED_MS) end
  redis.call('PEXPIRE', call_key(call_id), math.max(TOMBSTONE_MS, known_ms))
  redis.call('ZREM', calls_key(case.id), call_id)
  redis.call('ZREM', ended_key(), call_id)
  return true
end

-- Returns the oldest call of a case that has ended and has no delivery to run.
local function oldest_ended_call(case)
  local others = tonumber(case.unfinished)
  for from = 0, others, 64 do
    for _, call_id in ipairs(redis.call('ZRANGE', calls_key(case.id), from, math.min(from + 63, others))) do
      if redis.call('ZSCORE', ended_key(), call_id) then return call_id end
    end
  end
end

-- Keeps only the newest ended calls of a case, within the limits. Calls that run or have a delivery are never deleted.
local function trim_ended_calls(case, limits)
  local excess = redis.call('ZCARD', calls_key(case.id)) - case.unfinished - limits.recorded_calls_per_case
  while excess > 0 or case.bytes > limits.recorded_bytes_per_case do
    local oldest = oldest_ended_call(case)
    if not oldest or not delete_call(case, oldest) then return end
    excess = excess - 1
  end
end

-- Keeps a call that has ended, and has no delivery to run, for its retention. A closed case is kept as long as its last
-- call, so both are due together.
---@param size string|number bytes of the call
local function retain_ended_call(case, call_id, size, now, limits)
  redis.call('ZADD', ended_key(), now, call_id)
  if case.status == 'CLOSED' then redis.call('ZADD', closed_key(), now, case.id) end
  case.unfinished, case.bytes = case.unfinished - 1, case.bytes + size
  trim_ended_calls(case, limits)
  write_totals(case)
end
