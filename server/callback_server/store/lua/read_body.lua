#!lua flags=no-writes
-- Reads the body of a version of the response of a case, which a call or an answer names.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param version string
-- Returns: the body; '' if it is not kept.
-- @include bodies
-- @arguments

local case = load_case(case_id)
return read_body('GET', case_id, case and case.version, version) or ''
