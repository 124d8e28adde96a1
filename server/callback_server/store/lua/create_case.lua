#!lua
-- Stores a new case. Sent twice, it stores it once.
--
-- KEYS: partition
-- ARGV: case_id, sha (raw, what follows the id), fingerprint (raw, its first half), owner, activity, mode, parameter,
--       time_to_live_ms ('' = never), content, body ('' = none apart), path ('1' if the response is a redirect to /path,
--       else ''), profile ('' = none), guard ('' = off), answer ('' = HANDLER), ordered ('1' or ''), fallback ('' = none)
-- Returns: OK; KNOWN (the same request stored it before); CONFLICT if the case exists with another owner or content.
-- Transition: nothing -> OPEN
-- @include life

local case_id, sha, fingerprint, owner, activity = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local mode, parameter, time_to_live_ms, content, body, path = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local profile, guard, answer, ordered, fallback = ARGV[12], ARGV[13], ARGV[14], ARGV[15], ARGV[16]

if redis.call('EXISTS', case_key(case_id)) == 1 then -- seldom: a request that was sent again
  local existing = load_case(case_id)
  local same = existing.owner == owner and string.sub(existing.sha, -16) == sha
    and string.sub(existing.fingerprint, 1, 16) == fingerprint
  return {same and 'KNOWN' or 'CONFLICT'}
end

local marks = label_marks(content)
-- A creation time of its own for each case of a partition, so that a page token can name a place between two.
local created = math.max(now_us(), tonumber(redis.call('GET', newest_key()) or 0) + 1)
redis.call('SET', newest_key(), string.format('%.0f', created))
redis.call('HSET', case_key(case_id), 'status', 'OPEN', 'owner', owner, 'activity', activity, 'mode', mode, 'sha', sha,
  'fingerprint', fingerprint, 'created', created, 'marks', marks)
redis.call('SET', content_key(case_id), content)
if body ~= '' then redis.call('SET', body_key(case_id), body) end
if parameter ~= '' then redis.call('HSET', case_key(case_id), 'parameter', parameter) end
if path ~= '' then redis.call('HSET', case_key(case_id), 'path', path) end
if profile ~= '' then redis.call('HSET', case_key(case_id), 'profile', profile) end
if guard ~= '' then redis.call('HSET', case_key(case_id), 'guard', guard) end
if answer ~= '' then redis.call('HSET', case_key(case_id), 'answer', answer) end
if ordered ~= '' then redis.call('HSET', case_key(case_id), 'ordered', ordered) end
if fallback ~= '' then
  redis.call('HSET', case_key(case_id), 'fallback', '1')
  redis.call('SET', fallback_key(case_id), fallback)
end
redis.call('ZADD', index_key(owner, 'OPEN', activity), created, case_id)
redis.call('SADD', activities_key(owner), activity)
for _, index in ipairs(label_indexes(owner, content)) do redis.call('ZADD', index, created, case_id) end
if time_to_live_ms ~= '' then
  local expires = math.floor(now_us() / 1000) + time_to_live_ms
  redis.call('HSET', case_key(case_id), 'expires', expires)
  redis.call('ZADD', expiries_key(), expires, case_id)
end
emit({id = case_id, owner = owner, activity = activity, status = 'OPEN', marks = marks}, 'CASE_CREATED')
return {'OK'}
