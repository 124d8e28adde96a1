-- What is kept of the ended calls of a case, and for how long.
-- @include life_constants
-- @include repeats

-- How long the tombstone of a deleted call is kept: longer than a claim or an end is sent again (310 s), in
-- milliseconds.
local TOMBSTONE_MS = 330000

-- How many calls the end of one looks at in search of ended ones, and how many it deletes: together below 1 ms. What is
-- left to do is left to the next end.
local MAX_EXAMINED, MAX_DELETED = 256, 32

-- Adds what the recorded bytes of a case have changed by to those of its owner. A release before changes only `bytes`
-- and `unfinished`: so without unfinished calls, the bytes are those of the ended ones, and they are never fewer.
---@return number recorded the field of the case, which the caller writes
local function count_recorded(case)
  local recorded = tonumber(case.bytes)
  if tonumber(case.unfinished) > 0 then recorded = math.max(recorded, tonumber(case.recorded)) end
  if recorded ~= case.counted
      and redis.call('ZINCRBY', recorded_bytes_key(), recorded - case.counted, case.owner) == '0' then
    redis.call('ZREM', recorded_bytes_key(), case.owner)
  end
  case.recorded, case.counted = recorded, recorded
  return recorded
end

-- Writes the number of the unfinished calls of a case, those that run or have a delivery, the bytes of the others and
-- of all, and where the search for the oldest of the others begins.
local function write_totals(case)
  redis.call('HSET', case_key(case.id), 'unfinished', case.unfinished, 'bytes', case.bytes, 'recorded',
    count_recorded(case))
  if case.search_from then redis.call('HSET', case_key(case.id), 'search_from', case.search_from) end
end

-- Erases the outcome of an ended call, except its status.
local function erase_outcome(case, call_id)
  release_body(case, call_id)
  redis.call('HDEL', call_key(call_id), 'response', 'response_body', 'platform_url', 'detail', 'delivery_detail',
    'delivery_response', 'delivery_body', 'delivery_shares_body')
end

-- Returns whether a call on this case ends in its claim, because the case answers it.
local function ends_at_claim(case) return case.activity == RECORD or case.answer_mode == 'ACK' end

-- Deletes an ended call, and takes its bytes from the totals of its case, which the caller writes. Its tombstone
-- remains, which no query finds: it answers a claim or a finish that is sent again, and a repeat for as long as the
-- window of the call.
---@return boolean deleted: not if its key has a wrong type
local function delete_call(case, call_id)
  local call = redis.pcall('HMGET', call_key(call_id), 'size', 'digest', 'delivery', 'wait_hash', 'body_of',
    'digest_of')
  if call.err then return false end
  local now = math.floor(now_us() / 1000)
  case.bytes, case.recorded = case.bytes - call[1], case.recorded - call[1]
  redis.call('HDEL', call_key(call_id), 'request', 'request_body')
  -- Only where the case answers its calls, a claim that is sent again returns the response.
  if not ends_at_claim(case) then
    erase_outcome(case, call_id)
  elseif call[5] then
    name_until(case, call[5], 'until', now + TOMBSTONE_MS)
    count_use(case, call[5], 'calls', -1)
  end
  if call[3] then redis.call('ZREM', dead_key(case.owner), call_id) end
  local known_ms = call[2] and redis.call('PEXPIRETIME', repeat_key(call[6] or case.id, call[2])) - now or 0
  if call[4] then known_ms = math.max(known_ms, WAITED_MS) end
  redis.call('PEXPIREAT', call_key(call_id), now + math.max(TOMBSTONE_MS, known_ms))
  redis.call('ZREM', calls_key(case.id), call_id)
  redis.call('ZREM', ended_key(), call_id)
  return true
end

-- Keeps only the newest ended calls of a case, within the limits. Calls that run or have a delivery are never deleted.
-- Many of these may be older than the oldest ended call, so they are not looked at again: the search begins behind the
-- unfinished calls that an earlier one has passed. One of them that ends is the oldest, or brings the search back.
---@param ended string the call that has ended
local function trim_ended_calls(case, ended, limits)
  local excess = redis.call('ZCARD', calls_key(case.id)) - case.unfinished - limits.recorded_calls_per_case
  local function is_over() return excess > 0 or case.bytes > limits.recorded_bytes_per_case end
  local function delete(call_id)
    excess = excess - 1
    return delete_call(case, call_id)
  end

  local from = tonumber(case.search_from or 0)
  local number = from > 0 and tonumber(redis.call('HGET', call_key(ended), 'attempt'))
  if number and number < from then
    if not is_over() then
      case.search_from = number
    elseif not delete(ended) then
      return
    end
  end
  local deleted = 0
  for _ = 1, MAX_EXAMINED, 64 do
    if not is_over() then return end
    local calls = redis.call('ZRANGE', calls_key(case.id), from, '+inf', 'BYSCORE', 'LIMIT', 0, 64, 'WITHSCORES')
    for i = 1, #calls, 2 do
      if redis.call('ZSCORE', ended_key(), calls[i]) then
        if not delete(calls[i]) then return end
        deleted = deleted + 1
        if deleted == MAX_DELETED or not is_over() then return end
      end
    end
    -- Behind the last call, the search begins anew: a release before may have kept one that it has passed.
    from = #calls == 128 and calls[128] + 1 or 0
    if from > 0 or case.search_from then case.search_from = from end
    if from == 0 then return end
  end
end

-- Keeps a call that has ended, and has no delivery to run, for its retention. A closed case is kept as long as its last
-- call, so both are due together.
---@param size string|number bytes of the call
local function retain_ended_call(case, call_id, size, now, limits)
  redis.call('ZADD', ended_key(), now, call_id)
  if case.status == 'CLOSED' then redis.call('ZADD', closed_key(), now, case.id) end
  case.unfinished, case.bytes = case.unfinished - 1, case.bytes + size
  trim_ended_calls(case, call_id, limits)
  write_totals(case)
end
