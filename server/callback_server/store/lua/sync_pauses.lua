#!lua flags=allow-oom
-- Has a partition know what is paused.
--
-- KEYS: partition
-- ARGV: version, activities
-- Returns: OK.
-- @include pauses

sync_pauses(1)
return 'OK'
