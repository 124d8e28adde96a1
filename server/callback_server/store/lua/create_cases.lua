#!lua
-- Stores new cases of an owner, one after the other, and the pointer to each that has a request id. Sent twice, the
-- script stores each once. A request finds the case that it made before by the pointer, or without one by the id of the
-- case, if it is sent again. Each case is stored whole or not at all: an error about one ends the script behind those
-- before it. A case with an endpoint has a pointer of its correlation key, which holds the newest case of the key and
-- those of its request ids. A new one is stored only if that case is closed, after the timeouts that are due.
--
-- KEYS: partition
-- ARGV:
---@param owner string
---@param limits {recorded_calls_per_case: number, recorded_bytes_per_case: number}
---@class NewCase
---@field case_id string
---@field state_hash_half string raw: the second half of the state's SHA-256, '' = the case has no URL
---@field activity string
---@field mode string
---@field content string
---@field repeat_window string in milliseconds, '' = repeats are calls
---@field time_to_live_ms string '' = never
---@field code string of the response, '' = 200, 0 = a redirect
---@field needs_platform boolean the response has a URL that is a /path
---@field has_labels boolean
---@field body string '' = none, or inside the content
---@field answer_mode string '' = HANDLER
---@field hold_ms string '' = the case holds no calls
---@field guard string '' = OFF
---@field parameter string
---@field pointer string '' = no request id
---@field nonce string raw
---@field correlation string the name of the pointer of its correlation key, '' = no endpoint
---@field fingerprint string raw: the first half of its hash
---@field notify string the reasons of the notifications, '' = none
---@field profile string '' = none
---@field fallback string '' = none
---@field closed_response string '' = none
---@field no_repeat boolean no answer is given twice
---@field is_ordered boolean
---@field has_choices boolean its prompt has choices or fields
---@field needs string the features that each server must know, '' = none
---@param cases NewCase[]
-- Returns: reports, then for each case
--          OK with the time at which it expires (in milliseconds, 0 = never);
--          KNOWN with a nonce and that time (an earlier request with this request id and content stored a case, and
--          this nonce); CONFLICT (a case with this request id and other content exists); IN_USE with the id of the
--          case that has the correlation key, and is not closed.
-- Transition: nothing -> OPEN
-- @include labels
-- @include reminders
-- @include reports
-- @include timeouts
-- @include types
-- @arguments

-- Page tokens need another creation time for each case of a partition. So the last case has the time of the partition,
-- which is moved on, and each case before it has a microsecond less.
time = now_us() + (cases_last - cases_first) / cases_step

local known_activity -- whose keys are checked, and which is listed

---@param at number where the fields of the case begin
---@return string word and what the reply has behind it
local function create_case(at)
  -- @fields
  local known_id, known_nonce = case_id, nonce
  if pointer ~= '' then
    local target
    if correlation ~= '' then
      target = redis.call('HGET', correlation_key(correlation), pointer)
    else
      target = redis.call('GET', pointer_key(pointer))
    end
    known_id, known_nonce = target and string.sub(target, 1, 32), target and string.sub(target, 33)
  end
  if known_id and redis.call('EXISTS', case_key(known_id)) == 1 then -- rare
    local known = load_case(known_id)
    if known.fingerprint ~= fingerprint then return 'CONFLICT' end
    if known_nonce == nonce then return 'OK', tonumber(known.expires or 0) end -- this request is sent again
    return 'KNOWN', known_nonce, tonumber(known.expires or 0)
  end

  local newest = correlation ~= '' and redis.call('HGET', correlation_key(correlation), 'case')
  local holder = newest and load_case(newest)
  if holder and holder.status ~= 'CLOSED' then
    check_types(holder, {})
    apply_timeouts(holder, math.floor(now_us() / 1000), limits)
    if holder.status ~= 'CLOSED' then return 'IN_USE', holder.id end
  end

  -- The types of all keys that it writes to, as check_types does for a case that exists.
  if activity ~= known_activity then
    redis.call('ZINTERCARD', 5, KEYS[1], expiries_key(), owners_key(), activities_key(owner),
      index_key(owner, 'OPEN', activity))
    redis.call('XLEN', events_key())
  end
  if notify ~= '' then redis.call('ZCARD', reminders_key()) end
  local indexes, label_digests = {}, ''
  if has_labels then indexes, label_digests = label_indexes(owner, content) end
  for _, index in ipairs(indexes) do redis.call('ZCARD', index) end
  local created = now_us() - (cases_last - at) / cases_step
  local case_fields = {'status', 'OPEN', 'owner', owner, 'activity', activity, 'mode', mode, 'fingerprint', fingerprint,
    'created', created}
  local function set_case_field(name, value)
    case_fields[#case_fields + 1], case_fields[#case_fields + 2] = name, value
  end

  if state_hash_half ~= '' then set_case_field('sha', state_hash_half) end
  if label_digests ~= '' then set_case_field('label_digests', label_digests) end
  redis.call('SET', content_key(case_id), content)
  if pointer ~= '' then
    set_case_field('pointer', pointer)
    if correlation ~= '' then
      redis.call('HSET', correlation_key(correlation), pointer, case_id .. nonce)
    else
      redis.call('SET', pointer_key(pointer), case_id .. nonce)
    end
  end
  if correlation ~= '' then
    set_case_field('correlation', correlation)
    redis.call('HSET', correlation_key(correlation), 'case', case_id)
  end
  if body ~= '' then redis.call('SET', body_key(case_id), body) end
  if parameter ~= '' then set_case_field('parameter', parameter) end
  if repeat_window ~= '' then set_case_field('repeat_window', repeat_window) end
  if no_repeat then set_case_field('no_repeat', '1') end
  if code ~= '' then set_case_field('code', code) end
  if needs_platform then set_case_field('path', '1') end
  if profile ~= '' then set_case_field('profile', profile) end
  if guard ~= '' then set_case_field('guard', guard) end
  if has_choices then set_case_field('choices', '1') end
  if needs ~= '' then set_case_field('needs', needs) end
  if answer_mode ~= '' then set_case_field('answer_mode', answer_mode) end
  if hold_ms ~= '' then set_case_field('hold_ms', hold_ms) end
  if notify ~= '' then
    set_case_field('notify', notify)
    schedule_reminder({id = case_id, created = created}, 1)
  end
  if is_ordered then set_case_field('ordered', '1') end
  if closed_response ~= '' then
    set_case_field('closed_response', '1')
    redis.call('SET', closed_response_key(case_id), closed_response)
  end
  if fallback ~= '' then
    set_case_field('fallback', '1')
    redis.call('SET', fallback_key(case_id), fallback)
  end
  redis.call('ZADD', index_key(owner, 'OPEN', activity), created, case_id)
  if activity ~= known_activity then
    if redis.call('SADD', activities_key(owner), activity) == 1 then redis.call('SADD', owners_key(), owner) end
    known_activity = activity
  end
  for _, index in ipairs(indexes) do redis.call('ZADD', index, created, case_id) end
  local expires = 0
  if time_to_live_ms ~= '' then
    expires = math.floor(now_us() / 1000) + time_to_live_ms
    set_case_field('expires', expires)
    redis.call('ZADD', expiries_key(), expires, case_id)
  end
  redis.call('HSET', case_key(case_id), unpack(case_fields))
  emit_event({id = case_id, owner = owner, activity = activity, status = 'OPEN', label_digests = label_digests},
    'CASE_CREATED')
  return 'OK', expires
end

local results = {}
for at = cases_first, cases_last, cases_step do results[#results + 1] = {create_case(at)} end
return reply(unpack(results))
