#!lua flags=allow-oom
-- Updates a partition's copy of the paused activities.
--
-- KEYS: partition
-- ARGV:
---@param pauses_version string
---@param paused_activities string[]
-- Returns: OK.
-- @include pauses
-- @arguments

sync_pauses(pauses_version, paused_activities_first, paused_activities_last)
return 'OK'
