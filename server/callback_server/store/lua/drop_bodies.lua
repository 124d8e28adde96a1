#!lua flags=allow-oom
-- Drops the oldest recorded bodies of a partition: of requests, answers and deliveries of ended calls. The calls stay,
-- and say so. The bodies of a delivery that is dead stay, because it can be replayed. The answer that a repeat of a
-- call gets is kept elsewhere. Where the case answers its calls, its response stays too: a claim that is sent again
-- gets it.
--
-- KEYS: partition
-- ARGV:
---@param owner string '' = all
---@param target number of recorded bytes of this owner, or of all, with which the script stops
---@param start string where the search begins among the ended calls; '-inf' = at the oldest
-- Returns: reports, then the bytes that were dropped, how many are recorded now, where the next search begins, and 1 if
--          there may be more to drop now, else 0.
-- Transition: none.
-- @include retention
-- @include types
-- @arguments

-- How many calls the script looks at, and from how many it drops bodies: together below 1 ms.
local MAX_EXAMINED, MAX_DROPPED = 256, 32

local function recorded_bytes()
  if owner ~= '' then return tonumber(redis.call('ZSCORE', recorded_bytes_key(), owner) or 0) end
  local owners, sum = redis.call('ZRANGE', recorded_bytes_key(), 0, -1, 'WITHSCORES'), 0
  for i = 2, #owners, 2 do sum = sum + owners[i] end
  return sum
end

-- Returns what is left of the size of a call without its bodies.
local function size_without_bodies(case, call_id)
  local left = redis.call('HSTRLEN', call_key(call_id), 'request')
  left = left + redis.call('HSTRLEN', call_key(call_id), 'response')
  left = left + redis.call('HSTRLEN', call_key(call_id), 'delivery_response')
  if not ends_at_claim(case) then return left end
  local version = redis.call('HGET', call_key(call_id), 'body_of')
  if version then return left + (read_body('STRLEN', case.id, case.version, version) or 0) end
  return left + redis.call('HSTRLEN', call_key(call_id), 'response_body')
end

---@return number dropped bytes
local function drop(call_id)
  local call = redis.pcall('HMGET', call_key(call_id), 'size', 'delivery')
  if call.err or not call[1] or call[1] == '0' or call[2] == 'DEAD' then return 0 end
  local case = load_case(string.sub(call_id, 1, 32))
  if not case or (owner ~= '' and case.owner ~= owner) then return 0 end
  local left = size_without_bodies(case, call_id)
  local dropped = call[1] - left
  if dropped <= 0 or not pcall(check_types, case, {}) then return 0 end -- what is damaged stays as it is
  local body_size = redis.call('HSTRLEN', call_key(call_id), 'request_body')
  if body_size > 0 then -- it cannot be replayed any more
    redis.call('HSET', call_key(call_id), 'request_body', '', 'partial', '1')
  end
  if not ends_at_claim(case) then
    release_body(case, call_id)
    redis.call('HDEL', call_key(call_id), 'response_body')
  end
  redis.call('HDEL', call_key(call_id), 'delivery_body', 'delivery_shares_body')
  redis.call('HSET', call_key(call_id), 'size', left, 'dropped_bytes', body_size)
  case.bytes, case.recorded = case.bytes - dropped, case.recorded - dropped
  write_totals(case)
  return dropped
end

local before = recorded_bytes()
local calls = redis.call('ZRANGE', ended_key(), start, '+inf', 'BYSCORE', 'LIMIT', 0, MAX_EXAMINED, 'WITHSCORES')
local sum, times, last = 0, 0, start
for i = 1, #calls, 2 do
  if before - sum <= target then return reply(sum, before - sum, last, 0) end
  if times == MAX_DROPPED then return reply(sum, before - sum, last, 1) end
  local dropped = drop(calls[i])
  if dropped > 0 then sum, times = sum + dropped, times + 1 end
  last = calls[i + 1]
end
if #calls < 2 * MAX_EXAMINED then return reply(sum, before - sum, last, 0) end
-- Calls that have ended in the same millisecond are looked at again, unless there are too many of them.
return reply(sum, before - sum, last == start and '(' .. last or last, 1)
