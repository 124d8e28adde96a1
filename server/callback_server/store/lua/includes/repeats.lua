-- Repeats: the same request again, or the same message. A call with a window is found by the digest of its request from
-- its claim until its window is over, which begins at its end. A call that was NOT_STARTED is not found any more.
--
-- The whole answer is kept for the window, apart from what is recorded. Its code stays as long as the call is found.
--
-- A window ends by the time of the partition. The store deletes a key by its own clock, which may be behind: so keys
-- expire at a time, not after one, and a clock that is put right again deletes none before the end of its window.
-- @include bodies
-- @include reports
-- @include settings

-- How long the call of an event is found when the same claim is sent again, in milliseconds: longer than any claim is
-- sent again. Its case may be closed, and the correlation key free for another case by then.
local RESENT_MS = 600000

-- How many repeats may wait with one call.
local MAX_WAITERS = 16

-- How long a repeat waits with a call without following it again: several times the interval at which it does, in
-- milliseconds.
local WAITER_MS = 5000

-- How long an answer is kept for a caller that was told to wait for it, in milliseconds.
local WAITED_MS = 24 * 3600 * 1000

-- How long an answer that was erased, or is larger than what the case may keep, is kept for a caller that was told to
-- wait, until it asks again, in milliseconds. There is at most one for each caller that waited.
local WAITED_BRIEFLY_MS = 60000

-- How long an answer that must not be given twice is kept once it was given at the address of its call, in
-- milliseconds: longer than the store is asked again for the same request.
local GIVEN_ONCE_MS = 60000

-- Returns a whole answer as it is kept: the content that pack_content returns, behind its length, and the body.
local function packed_answer(content, body) return #content .. ':' .. content .. body end

-- Adds a repeat to the waiters of a running call, or renews it. One that stays long enough is not written again.
---@return boolean waits not if the call has as many waiters as it may
local function add_waiter(call_id, repeat_id, replica, now)
  local packed = redis.call('HGET', call_key(call_id), 'waiters')
  local known = packed and cmsgpack.unpack(packed) or {}
  if known[repeat_id] and known[repeat_id][1] > now + WAITER_MS / 2 then return true end
  local waiters, others = {}, 0
  for id, waiter in pairs(known) do
    if id ~= repeat_id and waiter[1] > now then
      waiters[id], others = waiter, others + 1
    end
  end
  if others >= MAX_WAITERS then return false end
  waiters[repeat_id] = {now + WAITER_MS, replica}
  redis.call('HSET', call_key(call_id), 'waiters', cmsgpack.pack(waiters))
  return true
end

-- Counts a repeat, once.
local function count_repeat(call_id, repeat_id)
  if redis.call('HGET', call_key(call_id), 'last_repeat') == repeat_id then return end
  redis.call('HINCRBY', call_key(call_id), 'repeats', 1)
  redis.call('HSET', call_key(call_id), 'last_repeat', repeat_id)
end

-- Returns what a repeat of an ended call gets, with the facts to render it. An answer that must not be given twice is
-- for the first request at the address of the call, if its caller was sent there without one.
---@param asker string|nil the request, if it came to the address of the call
local function answer_again(case, call_id, asker)
  local call = redis.call('HMGET', call_key(call_id), 'status', 'failure', 'code', 'method', 'platform_url',
    'no_repeat', 'caller_waits', 'given_to', 'answer_of')
  local answer = redis.call('GET', answer_key(call_id)) or ''
  if answer ~= '' and call[9] then
    local body = read_body('GET', string.sub(call_id, 1, 32), case and case.version, call[9])
    answer = body and answer .. body or ''
  end
  if call[6] and not (asker and call[7] and (call[8] or asker) == asker) then answer = '' end
  if call[6] and not call[8] and answer ~= '' then
    redis.call('HSET', call_key(call_id), 'given_to', asker)
    redis.call('PEXPIREAT', answer_key(call_id), math.floor(now_us() / 1000) + GIVEN_ONCE_MS, 'LT')
  end
  return call_id, call[1], call[2] or '', call[3] or '', call[4] or 'get', answer, call[5] or '',
    case and case.owner or '',
    case and settings_of(redis.call('GET', content_key(case.id)))[SETTING_ALTERNATIVE_DOMAIN] or '',
    case and case.answer_mode == 'HOLD' and '1' or '', case and case.status == 'OPEN' and '1' or ''
end

-- Starts the window of a call that ends, and reports its end to the repeats that wait with it. The last arguments are
-- fields of the call.
local function start_window(case, call_id, call_status, now, digest, window, waiters, digest_of)
  if waiters then
    local replicas = {}
    for _, waiter in pairs(cmsgpack.unpack(waiters)) do replicas[#replicas + 1] = waiter[2] end
    REPORTS[#REPORTS + 1] = {'AWAITED_CALL_ENDED', call_id, case.activity, unpack(replicas)}
    redis.call('HDEL', call_key(call_id), 'waiters')
  end
  if not digest then return end
  if call_status == 'NOT_STARTED' then
    redis.call('UNLINK', repeat_key(digest_of or case.id, digest))
    return
  end
  local over = now + window
  local found_until = digest_of and math.max(over, now + RESENT_MS) or over
  redis.call('PEXPIREAT', repeat_key(digest_of or case.id, digest), found_until)
  if over > tonumber(case.repeats_until) then
    case.repeats_until = over
    redis.call('HSET', case_key(case.id), 'repeats_until', over)
  end
end

-- Keeps the whole answer to a call that has ended: for a caller that waits (`keep_ms`), and for the window, if it fits
-- into what a case may keep. The answers whose windows end first go first.
---@param names_body boolean|nil the answer has the body of the response of the case, and names it: `answer` is the rest
local function keep_answer(case, call_id, answer, keep_ms, window_ms, now, max_bytes, names_body)
  local size = #answer + (names_body and redis.call('STRLEN', body_key(case.id)) or 0)
  local call = redis.call('HMGET', call_key(call_id), 'wait_hash', 'request', 'no_repeat', 'caller_waits')
  local is_awaited = call[1] and (call[4] or not call[3])
  if is_awaited then keep_ms = math.max(keep_ms, WAITED_BRIEFLY_MS) end
  if is_awaited and call[2] ~= '' then window_ms = math.max(window_ms, WAITED_MS) end
  if size > max_bytes then window_ms = 0 end
  local kept_ms = math.max(keep_ms, window_ms)
  if kept_ms <= 0 then return end
  redis.call('SET', answer_key(call_id), answer, 'PXAT', now + kept_ms)
  if names_body then redis.call('HSET', call_key(call_id), 'answer_of', case.version) end
  local count = window_ms > 0 and redis.call('ZCARD', answers_key(case.id)) or 0
  -- The only answer of a case that gets no more calls needs no list.
  if window_ms <= 0 or (count == 0 and case.mode ~= 'MULTIPLE' and case.status == 'CLOSED') then
    if names_body then name_until(case, case.version, 'until', now + kept_ms) end
    return
  end
  local over = now + window_ms
  if names_body then
    name_until(case, case.version, 'answers_until', now + kept_ms)
    count_use(case, case.version, 'answers', 1)
  end
  local bytes = size + (count > 0 and redis.call('HGET', case_key(case.id), 'answer_bytes') or 0)
  redis.call('ZADD', answers_key(case.id), over, call_id .. ':' .. size)
  if count == 0 then
    redis.call('PEXPIREAT', answers_key(case.id), over)
  else
    redis.call('PEXPIREAT', answers_key(case.id), over, 'GT')
  end
  while true do
    local first = redis.call('ZRANGE', answers_key(case.id), 0, 0, 'WITHSCORES')
    if not first[1] or (bytes <= max_bytes and tonumber(first[2]) > now) then break end
    bytes = bytes - string.sub(first[1], #call_id + 2)
    redis.call('ZREM', answers_key(case.id), first[1])
    local ended_first = string.sub(first[1], 1, #call_id)
    release_answer(case, ended_first)
    redis.call('UNLINK', answer_key(ended_first))
  end
  redis.call('HSET', case_key(case.id), 'answer_bytes', bytes)
end

-- Erases the answers that a case keeps, also of calls that are no longer recorded.
local function erase_answers(case)
  for _, member in ipairs(redis.call('ZRANGE', answers_key(case.id), 0, -1)) do
    local call_id = string.match(member, '^[^:]+')
    release_answer(case, call_id)
    redis.call('UNLINK', answer_key(call_id))
  end
  redis.call('UNLINK', answers_key(case.id))
  if case.call then redis.call('UNLINK', answer_key(case.call)) end
end
