#!lua flags=allow-oom
-- Appends an entry to the audit that has no change of its own in the store.
--
-- KEYS: chain
-- ARGV:
---@param audit string see includes/audit.lua
-- Returns: OK; HEAD_MOVED with id and text of the newest entry ('' = there is none).
-- @include audit
-- @arguments

local appended, newest_id, newest_entry = append_audit(audit)
if appended == 'MOVED' then return {'HEAD_MOVED', newest_id, newest_entry} end
return {'OK'}
