#!lua flags=allow-oom
-- Forgets what is past its retention in a partition: ended calls, and closed cases with all that belongs to them. A
-- closed case with a call still running waits for that call's end.
--
-- KEYS: partition
-- ARGV: limit (of each kind), retention_ms
-- Returns: how many calls and how many cases were dropped, and whether more may be due (1 or 0).
-- Transition: CLOSED -> nothing
-- @include life

local limit, retention_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.floor(now_us() / 1000) - retention_ms

local calls = redis.call('ZRANGE', ended_key(), '-inf', due, 'BYSCORE', 'LIMIT', 0, limit)
for _, call_id in ipairs(calls) do drop_call(string.sub(call_id, 1, 32), call_id) end

local dropped = 0
local cases = redis.call('ZRANGE', closed_key(), '-inf', due, 'BYSCORE', 'LIMIT', 0, limit)
for _, case_id in ipairs(cases) do
  local case = load_case(case_id)
  if tonumber(case.running) == 0 then
    for _, call_id in ipairs(redis.call('ZRANGE', calls_key(case_id), 0, -1)) do drop_call(case_id, call_id) end
    redis.call('ZREM', index_key(case.owner, case.status, case.activity), case_id)
    redis.call('ZREM', closed_key(), case_id)
    redis.call('UNLINK', case_key(case_id), content_key(case_id), body_key(case_id), calls_key(case_id))
    dropped = dropped + 1
  end
end
return {#calls, dropped, (#calls == limit or dropped == limit) and 1 or 0}
