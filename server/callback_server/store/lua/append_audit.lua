#!lua flags=allow-oom
-- Appends an entry to the audit that has no change of its own in the store.
--
-- KEYS: chain
-- ARGV:
---@param audit string see includes/audit.lua
-- Returns: OK; HEAD_MOVED with the newest item of the audit.
-- @include audit
-- @arguments

local appended, newest = append_audit(audit)
if appended == 'MOVED' then return {'HEAD_MOVED', newest} end
return {'OK'}
