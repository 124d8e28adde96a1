#!lua flags=allow-oom
-- Takes deliveries that are due in a partition, to be run at once: those whose time has come, and those whose lease is over.
-- Those of activities that are paused are left. What has no case, which can only come from outside, is taken off the list.
--
-- KEYS: partition
-- ARGV: limit, most_bytes (of requests; the first is taken whatever its size), turn (a number that is another each time:
--       each activity comes first in its turn), keep_calls, keep_bytes, lease_ms, and a list of activity and lease_ms for
--       those that are declared
-- Returns: 1 if more may be due, else 0; then of each call_id, attempt, how many of those no handler was asked in, attempts
--          since it began or was replayed, age_ms since then, lease_ms, owner, activity, mode, content, body (of an ACK call
--          as they were at its claim, else as they are), request, request_body, and '1' if it was replayed.
-- Transition: of a delivery PENDING, or RUNNING and over its lease -> RUNNING.
-- @include life
-- @include delivery

local limit, most_bytes, turn = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local keep, default_ms = {calls = tonumber(ARGV[4]), bytes = tonumber(ARGV[5])}, tonumber(ARGV[6])
local now = math.floor(now_us() / 1000)

local lease_ms = {}
for i = 7, #ARGV, 2 do lease_ms[ARGV[i]] = tonumber(ARGV[i + 1]) end

local activities = redis.call('SMEMBERS', inbox_key())
table.sort(activities)

local taken, bytes = {}, 0
for i = 1, #activities do
  local activity = activities[(turn + i) % #activities + 1]
  local due = redis.call('HEXISTS', pauses_key(), activity) == 1 and {}
    or redis.call('ZRANGE', due_key(activity), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit - #taken + 1)
  for _, call_id in ipairs(due) do
    if #taken == limit or bytes > most_bytes then return {1, unpack(taken)} end
    local case = load_case(string.sub(call_id, 1, 32))
    local call = redis.call('HMGET', call_key(call_id), 'delivery', 'base', 'since', 'response', 'response_body', 'request',
      'request_body', 'replayed', 'unasked')
    if not case or not call[6] then
      redis.call('ZREM', due_key(activity), call_id)
    elseif call[6] == '' then -- it was erased while it ran, by one whose lease is over
      conclude(case, call_id, 'DEAD', now, keep)
    else
      if call[1] == 'RUNNING' then
        redis.call('HSET', call_key(call_id), 'd_failure', 'HANDLER_LOST', 'd_detail', 'the server that asked it was lost')
      end
      local lease = lease_ms[activity] or default_ms
      run(case, call_id, now + lease)
      local tries = tonumber(redis.call('HGET', call_key(call_id), 'tries'))
      local content, body = call[4], call[5] or ''
      if case.answer ~= 'ACK' then
        content, body = redis.call('GET', content_key(case.id)), redis.call('GET', body_key(case.id)) or ''
      end
      bytes = bytes + #call[6] + #(call[7] or '')
      taken[#taken + 1] = {call_id, tries, tonumber(call[9] or 0), tries - tonumber(call[2] or 0), now - tonumber(call[3]),
        lease, case.owner, activity, case.mode, content, body, call[6], call[7] or '', call[8] or ''}
    end
  end
end
return {0, unpack(taken)}
