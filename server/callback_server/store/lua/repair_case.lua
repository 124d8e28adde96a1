#!lua flags=allow-oom
-- Finds the entries that a case, its calls and its notifications need and do not have, such as the lease of a call
-- that runs, and makes them. A call without a lease gets one, so that its end counts if its server still runs it. Also
-- finds the keys of the case and its calls that have a wrong type. Such a call, or the whole case, is left as it is.
-- So is a case in progress whose call does not exist: the call may come back, and its owner can close the case.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param call_id string only its entry in the list of calls; '' = the case and the calls of that list
---@param after string the number of a call; 0 = from the first call on, and the case itself
---@param limit number of calls
---@param lease_ms number of a call that has none, or of a notification's attempt
---@param makes_entries boolean otherwise they are only reported
-- Returns: the number after which to continue (0 = there are no more calls), then for each missing entry MISSING, the
--          list, as in the table of keys, and the case or call; for each key of a wrong type WRONG_TYPE, the name of
--          the key there, and its case or call; for a call that does not exist and holds the case NO_CALL, `call`, and
--          its id.
-- Transition: none.
-- @include entries
-- @include labels
-- @include notifications
-- @include uses
-- @arguments

-- The keys of a case that are there for it alone, and a command that reads each.
local READS = {case = 'HLEN', content = 'STRLEN', body = 'STRLEN', fallback = 'STRLEN', closed_response = 'STRLEN',
  resolution = 'HLEN', calls = 'ZCARD', held = 'ZCARD', answers = 'ZCARD', queue = 'LLEN'}

local found = {}
local function report(fault, name, member)
  found[#found + 1] = fault
  found[#found + 1] = name
  found[#found + 1] = member
end
local function need(list, key, score, member)
  if redis.call('ZSCORE', key, member) then return end
  report('MISSING', list, member)
  if makes_entries then redis.call('ZADD', key, score, member) end
end

if call_id ~= '' then
  local is_readable, number = pcall(redis.call, 'HGET', call_key(call_id), 'attempt')
  -- A notification has no number, and a tombstone is in no list.
  if is_readable and number and call_exists(call_id) and redis.call('EXISTS', case_key(case_id)) == 1 then
    need('calls', calls_key(case_id), number, call_id)
  end
  return {0, unpack(found)}
end

---@return boolean whether the key has the type of those that this command reads
local function has_type(name, member, command)
  if pcall(redis.call, command, KEYS[1] .. ':' .. name .. ':' .. member) then return true end
  report('WRONG_TYPE', name, member)
  return false
end

local is_sound = true
for name, command in pairs(READS) do is_sound = has_type(name, case_id, command) and is_sound end
local case = is_sound and load_case(case_id)
if not case then return {0, unpack(found)} end

local now = math.floor(now_us() / 1000)
local function need_member(list, key, member)
  if redis.call('SISMEMBER', key, member) == 1 then return end
  report('MISSING', list, member)
  if makes_entries then redis.call('SADD', key, member) end
end

-- A hash of uses that is there, and counts too little, is found by repair_uses.lua.
local function check_uses(call_id, version)
  if not version or redis.call('EXISTS', uses_key(case_id, version)) == 1 then return end
  report('MISSING', 'uses', call_id)
  local uses = makes_entries and found_uses(case, version)
  if uses then write_uses(case_id, version, uses, version == case.version) end
end

local function check_case()
  need('index', index_key(case.owner, case.status, case.activity), case.created, case_id)
  need_member('activities', activities_key(case.owner), case.activity)
  need_member('owners', owners_key(), case.owner)
  local content = redis.call('GET', content_key(case_id))
  for _, index in ipairs(content and label_indexes(case.owner, content) or {}) do
    need('label', index, case.created, case_id)
  end
  if case.status == 'CLOSED' then
    need('closed', closed_key(), redis.call('HGET', case_key(case_id), 'closed') or now, case_id)
    return
  end
  if case.status == IN_PROGRESS then
    local is_readable, is_there = pcall(redis.call, 'HEXISTS', call_key(case.call), 'request')
    if is_readable and is_there == 0 then report('NO_CALL', 'call', case.call) end
  end
  if case.expires then need('expiries', expiries_key(), case.expires, case_id) end
  local reminds = content and case.notify and not is_decided(case)
  local reminder = reminds and reminder_due(case, reminder_count(case) + 1)
  if reminder then need('reminders', reminders_key(), reminder, case_id) end
end

local function check_delivery(call_id, at)
  if case.ordered == '1' then
    if not redis.call('LPOS', queue_key(case_id), call_id) then
      report('MISSING', 'queue', call_id)
      if makes_entries then redis.call('RPUSH', queue_key(case_id), call_id) end
    end
    if redis.call('LINDEX', queue_key(case_id), 0) ~= call_id then return end
  end
  need('due', due_key(case.activity), at, call_id)
  need_member('delivery_activities', delivery_activities_key(), case.activity)
end

local function check_notification(call_id)
  if not has_type('call', call_id, 'HLEN') then return end
  local delivery, start, next_attempt = unpack(redis.call('HMGET', call_key(call_id), 'delivery', 'start', 'next'))
  if delivery == 'DEAD' then
    need('dead', dead_key(case.owner), start, call_id)
  elseif delivery and delivery ~= 'DELIVERED' then
    local at = delivery == 'PENDING' and next_attempt or now + lease_ms
    need('notification_due', notification_due_key(case.activity), at, call_id)
    need_member('notification_activities', notification_activities_key(), case.activity)
  end
end

local function check_call(call_id, number)
  if not has_type('call', call_id, 'HLEN') then return end
  local call = redis.call('HMGET', call_key(call_id), 'status', 'delivery', 'start', 'end', 'next', 'request',
    'body_of')
  local status, delivery = call[1], call[2]
  if not call[6] then return end -- the list of the calls has an entry without its call
  check_uses(call_id, call[7])
  if status == 'RUNNING' and delivery ~= 'PENDING' then
    local hold_ms = case.answer_mode == 'HOLD' and redis.call('HGET', case_key(case_id), 'hold_ms')
    need('leases', leases_key(), hold_ms and call[3] + hold_ms or now + lease_ms, call_id)
    if hold_ms then
      need('held', held_key(case_id), number, call_id)
      need('waiting', waiting_key(case.owner), call[3], call_id)
    end
  elseif delivery == 'PENDING' then
    check_delivery(call_id, call[5] or now)
  elseif delivery == 'RUNNING' then
    check_delivery(call_id, now + lease_ms)
  else
    need('ended', ended_key(), call[4], call_id)
    if delivery == 'DEAD' and call[6] ~= '' then need('dead', dead_key(case.owner), call[3], call_id) end
  end
end

if after == '0' then
  check_case()
  for _, each in ipairs(listed_answers(case)) do check_uses(each, version_of_answer(each)) end
  if case.call then check_uses(case.call, version_of_answer(case.call)) end
  for _, call_id in ipairs(notifications_of(case)) do check_notification(call_id) end
end
local calls = redis.call('ZRANGE', calls_key(case_id), '(' .. after, '+inf', 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
for i = 1, #calls, 2 do check_call(calls[i], calls[i + 1]) end
return {#calls == 2 * limit and tonumber(calls[#calls]) or 0, unpack(found)}
