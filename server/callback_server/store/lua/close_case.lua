#!lua flags=allow-oom
-- Closes a case, whatever its status. A closed case stays as it is.
--
-- KEYS: partition
-- ARGV: case_id, owner ('' = any), keep_calls, keep_bytes
-- Returns: what was due, then OK; ALREADY (it was closed before); UNKNOWN (no such case of this owner).
-- Transition: OPEN, IN_PROGRESS -> CLOSED (CLOSED_BY_OWNER); what was due before happens first.
-- @include life

local case_id, owner = ARGV[1], ARGV[2]
local keep = {calls = tonumber(ARGV[3]), bytes = tonumber(ARGV[4])}

local case = load_case(case_id)
if not case or (owner ~= '' and case.owner ~= owner) then return reply('UNKNOWN') end
local now = math.floor(now_us() / 1000)
settle(case, now, keep)
if case.status == 'CLOSED' then return reply('ALREADY') end
close(case, 'CLOSED_BY_OWNER', now)
emit(case, 'CASE_CLOSED')
return reply('OK')
