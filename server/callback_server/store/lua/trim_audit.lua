#!lua flags=allow-oom
-- Deletes the oldest entries of a chain of the audit, and keeps where the chain begins from then on.
--
-- KEYS: chain
-- ARGV:
---@param known_start string as the sender has read it, '' = none
---@param start string
---@param first_id string of the oldest entry to keep
-- Returns: OK; CONFLICT (another start is there now), and nothing was deleted.
-- @arguments

if (redis.call('GET', audit_start_key()) or '') ~= known_start then return 'CONFLICT' end
redis.call('XLEN', audit_key())
redis.call('SET', audit_start_key(), start)
redis.call('XTRIM', audit_key(), 'MINID', first_id)
return 'OK'
