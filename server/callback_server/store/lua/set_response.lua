#!lua
-- Replaces the response of a case that is not closed, if it is still the version that the new one was made from.
--
-- KEYS: partition
-- ARGV: case_id, owner ('' = any), version, content, body ('' = none apart), path ('1' if the response is a redirect to
--       /path, else ''), keep_calls, keep_bytes
-- Returns: what was due, then OK; UNKNOWN (no such case of this owner); CLOSED with its reason; CONFLICT (another version
--          by now).
-- Transition: none of its own; what was due before happens first.
-- @include life

local case_id, owner, version, content, body, path = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local keep = {calls = tonumber(ARGV[7]), bytes = tonumber(ARGV[8])}

local case = load_case(case_id)
if not case or (owner ~= '' and case.owner ~= owner) then return reply('UNKNOWN') end
settle(case, math.floor(now_us() / 1000), keep)
if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end
if case.version ~= version then return reply('CONFLICT') end

redis.call('SET', content_key(case_id), content)
if body ~= '' then redis.call('SET', body_key(case_id), body) else redis.call('DEL', body_key(case_id)) end
redis.call('HSET', case_key(case_id), 'path', path)
redis.call('HINCRBY', case_key(case_id), 'version', 1)
emit(case, 'RESPONSE_SET')
return reply('OK')
