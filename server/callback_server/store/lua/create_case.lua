#!lua
-- Stores a new case, and the pointer to it if it has a request id. Sent twice, the script stores it once. A request
-- finds the case that it made before by the pointer, or without one by the id of the case, if it is sent again.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param state_hash_half string raw: the second half of the state's SHA-256
---@param owner string
---@param activity string
---@param mode string
---@param content string
---@param repeat_window string in milliseconds, '' = repeats are calls
---@param time_to_live_ms string '' = never
---@param code string of the response, '' = 200, 0 = a redirect
---@param needs_platform boolean the response has a URL that is a /path
---@param has_labels boolean
---@param body string '' = none, or inside the content
---@param answer_mode string '' = HANDLER
---@param hold_ms string '' = the case holds no calls
---@param guard string '' = OFF
---@param parameter string
---@param pointer string '' = no request id
---@param nonce string raw
---@param fingerprint string raw: the first half of its hash
---@param notify string the reasons of the notifications, '' = none
---@param profile string '' = none
---@param fallback string '' = none
---@param closed_response string '' = none
---@param no_repeat boolean no answer is given twice
---@param is_ordered boolean
---@param has_choices boolean of its prompt
-- Returns: reports, then OK with the time at which the case expires (in milliseconds, 0 = never);
--          KNOWN with a nonce and that time (an earlier request with this request id and content stored a case, and
--          this nonce); CONFLICT (a case with this request id and other content exists).
-- Transition: nothing -> OPEN
-- @include labels
-- @include reminders
-- @include reports
-- @arguments

local known_id, known_nonce = case_id, nonce
if pointer ~= '' then
  local target = redis.call('GET', pointer_key(pointer))
  known_id, known_nonce = target and string.sub(target, 1, 32), target and string.sub(target, 33)
end
if known_id and redis.call('EXISTS', case_key(known_id)) == 1 then -- rare
  local known = load_case(known_id)
  if known.fingerprint ~= fingerprint then return reply('CONFLICT') end
  if known_nonce == nonce then return reply('OK', tonumber(known.expires or 0)) end -- this request is sent again
  return reply('KNOWN', known_nonce, tonumber(known.expires or 0))
end

-- The types of all keys that it writes to, as check_types does for a case that exists.
redis.call('ZINTERCARD', 5, KEYS[1], expiries_key(), owners_key(), activities_key(owner),
  index_key(owner, 'OPEN', activity))
redis.call('XLEN', events_key())
if notify ~= '' then redis.call('ZCARD', reminders_key()) end
local indexes, label_digests = {}, ''
if has_labels then indexes, label_digests = label_indexes(owner, content) end
for _, index in ipairs(indexes) do redis.call('ZCARD', index) end
local created = now_us() -- no other case of the partition has it, because emit_event keeps it: page tokens rely on that
local case_fields = {'status', 'OPEN', 'owner', owner, 'activity', activity, 'mode', mode, 'sha', state_hash_half,
  'fingerprint', fingerprint, 'created', created}
local function set_case_field(name, value)
  case_fields[#case_fields + 1], case_fields[#case_fields + 2] = name, value
end

if label_digests ~= '' then set_case_field('label_digests', label_digests) end
redis.call('SET', content_key(case_id), content)
if pointer ~= '' then
  set_case_field('pointer', pointer)
  redis.call('SET', pointer_key(pointer), case_id .. nonce)
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
if redis.call('SADD', activities_key(owner), activity) == 1 then redis.call('SADD', owners_key(), owner) end
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
return reply('OK', expires)
