-- What more than one transition does to a case and its calls. The key functions (`case_key` and so on) stand above this
-- text; they come from keys.py. Every transition reads all, decides, then writes: Lua has no rollback.
-- @include labels

local FIELDS = {'status', 'reason', 'owner', 'activity', 'mode', 'sha', 'parameter', 'fingerprint', 'created', 'expires',
                'attempts', 'running', 'version', 'call', 'path', 'profile', 'guard', 'arrival', 'answer', 'ordered',
                'fallback', 'marks'}

-- What a field is that is absent.
local NOTHING = {parameter = '', attempts = '0', running = '0', version = '0'}

-- How long an ended call that is no longer kept is still known to a message sent again: longer than any lease (310 s).
local ECHO_MS = 330000

-- What was due and is done now, whatever the script was asked for: leases that ended, cases that expired. It stands before
-- the answer of every script that settles, in each execution that did it and in no other: so each is told once.
local DUE = {}

---@return table reply what was due, then the answer
local function reply(...) return {DUE, ...} end

local clock -- asked once

---@return number now in microseconds, by the store's clock; frozen while a script runs
local function now_us()
  if not clock then
    local t = redis.call('TIME')
    clock = t[1] * 1000000 + t[2]
  end
  return clock
end

---@return table|nil case the fields of a case as strings or nil, with its id
local function load_case(id)
  local values = redis.call('HMGET', case_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local case = {id = id}
  for i, name in ipairs(FIELDS) do case[name] = values[i] or NOTHING[name] end
  return case
end

-- How many events a partition keeps.
local MOST_EVENTS = 10000

-- Tells those who watch of one change of a case or a call. Ids of events are 0-1, 0-2 and so on: with no hole, so that who
-- reads on sees what is no longer kept. What stands in an event: see the domain's Event; a case that the release before made
-- does not know its marks.
local function emit(case, what, call_id, call_status, delivery)
  redis.call('XADD', events_key(), 'MAXLEN', MOST_EVENTS, '0-*', 'event', cmsgpack.pack({what, case.id,
    call_id and string.sub(call_id, 34) or '', case.activity, case.owner, math.floor(now_us() / 1000), case.status,
    case.reason or '', call_status or '', delivery or '', case.marks or label_marks(redis.call('GET', content_key(case.id)))}))
end

-- Moves a case to another status: the field and the index are one thing.
local function move(case, status)
  redis.call('ZREM', index_key(case.owner, case.status, case.activity), case.id)
  redis.call('ZADD', index_key(case.owner, status, case.activity), case.created, case.id)
  redis.call('HSET', case_key(case.id), 'status', status)
  case.status = status
end

-- CLOSED, for good. Calls that run go on; their end is recorded on the call only.
local function close(case, reason, now)
  move(case, 'CLOSED')
  redis.call('HSET', case_key(case.id), 'reason', reason, 'closed', now)
  redis.call('ZREM', expiries_key(), case.id)
  redis.call('ZADD', closed_key(), now, case.id)
  case.reason = reason
end

-- What became of an ended call, but for how it ended.
local function erase_outcome(call_id)
  redis.call('HDEL', call_key(call_id), 'response', 'response_body', 'platform_url', 'detail', 'd_detail', 'd_response',
    'd_body')
end

-- Whether the case itself answers its calls, in their claim.
local function answers_itself(case) return case.activity == 'record' or case.answer == 'ACK' end

-- Forgets a call that is over. What is left of it no read finds: it answers a claim or a finish that is sent again, and says
-- what became of its message for as long as that is known.
local function drop_call(case, call_id)
  local call = redis.call('HMGET', call_key(call_id), 'size', 'message', 'delivery')
  -- `0 -`, here and elsewhere: the negative of 0 is -0, which Redis 7.0 does not take for an integer.
  redis.call('HINCRBY', case_key(case.id), 'bytes', 0 - call[1])
  redis.call('HDEL', call_key(call_id), 'request', 'request_body')
  -- Only where the case answers does a call's claim give its response when it is sent again.
  if not answers_itself(case) then erase_outcome(call_id) end
  if call[3] then redis.call('ZREM', dead_key(case.owner), call_id) end
  local known_ms = call[2] and redis.call('PTTL', message_key(case.id, call[2])) or 0
  redis.call('PEXPIRE', call_key(call_id), math.max(ECHO_MS, known_ms))
  redis.call('ZREM', calls_key(case.id), call_id)
  redis.call('ZREM', ended_key(), call_id)
end

-- The oldest call of a case that is over: it has ended, and nothing of it is to be delivered.
local function oldest_over(case)
  local others = tonumber(redis.call('HGET', case_key(case.id), 'running'))
  for from = 0, others, 64 do
    for _, call_id in ipairs(redis.call('ZRANGE', calls_key(case.id), from, math.min(from + 63, others))) do
      if redis.call('ZSCORE', ended_key(), call_id) then return call_id end
    end
  end
end

-- Keeps the newest `keep.calls` of a case that are over and at most `keep.bytes` of them. No other is ever dropped.
local function trim(case, keep)
  local running = tonumber(redis.call('HGET', case_key(case.id), 'running'))
  local excess = redis.call('ZCARD', calls_key(case.id)) - running - keep.calls
  while excess > 0 or tonumber(redis.call('HGET', case_key(case.id), 'bytes')) > keep.bytes do
    local oldest = oldest_over(case)
    if not oldest then return end
    drop_call(case, oldest)
    excess = excess - 1
  end
end

-- Nothing more becomes of a call: it counts among those that are kept for a time. `running` of a case are the others.
-- A closed case stays as long as its last call, so they are due together.
local function over(case, call_id, now, keep)
  redis.call('ZADD', ended_key(), now, call_id)
  if case.status == 'CLOSED' then redis.call('ZADD', closed_key(), now, case.id) end
  redis.call('HINCRBY', case_key(case.id), 'running', -1)
  redis.call('HINCRBY', case_key(case.id), 'bytes', redis.call('HGET', call_key(call_id), 'size'))
  trim(case, keep)
end

-- The life table (spec, "A case's life"): what the end of its call does to a single-use case. One with multiple calls
-- stays open. The tests' model has the same table.
---@return string status
---@return string|nil reason
local function effect(mode, call_status, keep_open)
  if call_status == 'NOT_STARTED' then return 'OPEN' end
  if call_status == 'SUCCEEDED' then
    if keep_open then return 'OPEN' end
    return 'CLOSED', 'CONSUMED'
  end
  if mode == 'RETRYABLE' then return 'OPEN' end
  if call_status == 'INTERRUPTED' then return 'CLOSED', 'INTERRUPTED' end
  return 'CLOSED', 'FAILED'
end

-- Ends a running call, and moves its case unless that has been closed meanwhile. The call is over, if nothing of it is
-- `to_deliver`.
---@return string made what it made of the case: OPEN, or the reason for which it is closed; '' if it is as it was
local function end_call(case, call_id, call_status, keep_open, now, keep, to_deliver)
  local status, reason
  if case.mode ~= 'MULTIPLE' and case.status ~= 'CLOSED' and case.call == call_id then
    status, reason = effect(case.mode, call_status, keep_open)
  end
  local made = reason or status or ''
  redis.call('HSET', call_key(call_id), 'status', call_status, 'end', now, 'made', made)
  redis.call('ZREM', leases_key(), call_id)
  if case.answer == 'HOLD' then redis.call('ZREM', waiting_key(case.owner), call_id) end
  if redis.call('HGET', call_key(call_id), 'request') == '' then erase_outcome(call_id) end -- erased while it ran
  if status == 'CLOSED' then close(case, reason, now) elseif status then move(case, status) end
  emit(case, 'CALL_ENDED', call_id, call_status)
  if call_status == 'INTERRUPTED' then DUE[#DUE + 1] = {'LEASE_ENDED', call_id, case.activity, made} end
  if not to_deliver then over(case, call_id, now, keep) end
  return made
end

-- What is due on a single case by now, in the order of its times: the end of its running call's lease, its expiry.
local function settle(case, now, keep)
  local expires = case.status ~= 'CLOSED' and tonumber(case.expires)
  local lease = case.status == 'IN_PROGRESS' and tonumber(redis.call('ZSCORE', leases_key(), case.call))
  if lease and lease <= now and not (expires and expires < lease) then
    end_call(case, case.call, 'INTERRUPTED', false, now, keep)
  end
  if expires and expires <= now and case.status ~= 'CLOSED' then
    close(case, 'EXPIRED', now)
    emit(case, 'CASE_CLOSED')
    DUE[#DUE + 1] = {'CASE_EXPIRED', case.id, case.activity}
  end
end
