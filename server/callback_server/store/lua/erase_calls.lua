#!lua flags=allow-oom
-- Erases what was recorded of the calls of a case, some at a time, newest first. What is erased stays so: of a call that
-- runs, its end records nothing but how it ended. What waits to be delivered is dead, for nothing is left of it.
--
-- KEYS: partition
-- ARGV: case_id, owner ('' = any), erasure (a name of its own, the same when it is sent again), before (an attempt; '+inf' =
--       all), limit
-- Returns: OK with how many of these calls had something recorded until this erasure, and the attempt before which to go
--          on, 0 if there are no more; UNKNOWN (no such case of this owner).
-- Transition: of a delivery PENDING -> DEAD.
-- @include life
-- @include delivery

local case_id, owner, erasure, before, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local case = load_case(case_id)
if not case or (owner ~= '' and case.owner ~= owner) then return {'UNKNOWN'} end

local calls = redis.call('ZRANGE', calls_key(case_id), before == '+inf' and before or '(' .. before, '-inf', 'BYSCORE',
  'REV', 'LIMIT', 0, limit, 'WITHSCORES')
local erased, dead = 0, {}
for i = 1, #calls, 2 do
  local call_id = calls[i]
  local call = redis.call('HMGET', call_key(call_id), 'status', 'size', 'request', 'erasure', 'delivery')
  if call[3] ~= '' or call[4] == erasure then erased = erased + 1 end
  if call[3] ~= '' then
    redis.call('HSET', call_key(call_id), 'request', '', 'size', 0, 'erasure', erasure)
    redis.call('HDEL', call_key(call_id), 'request_body')
    -- What a running call has besides is the case's own, for a claim that is sent again. Its end takes that away.
    if call[1] ~= 'RUNNING' then
      if redis.call('ZSCORE', ended_key(), call_id) then
        redis.call('HINCRBY', case_key(case_id), 'bytes', 0 - call[2])
      end
      erase_outcome(call_id)
    end
    if call[5] == 'PENDING' then dead[#dead + 1] = call_id end
    redis.call('ZREM', dead_key(case.owner), call_id)
  end
end
local now = math.floor(now_us() / 1000)
local all = {calls = math.huge, bytes = math.huge} -- what is dropped meanwhile would not be counted when this is sent again
for _, call_id in ipairs(dead) do conclude(case, call_id, 'DEAD', now, all) end
return {'OK', erased, #calls == 2 * limit and tonumber(calls[#calls]) or 0}
