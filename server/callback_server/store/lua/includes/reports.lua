-- What a script reports besides its answer, in the order in which it happened: leases and hold times that ended, cases
-- that expired, calls that ended with the answer of their case or while repeats wait with them, and entries of lists
-- without a sound case. Each is reported exactly once, by the execution that applies it, whatever that was asked for.
-- @include partition

local REPORTS = {}

-- Returns whether the store has lost steps that the server has seen: the last argument is how many these are. It then
-- does nothing: a step would take the number of one that is lost, and hide that from the other servers.
local function has_lost_steps() return (event_number() or math.huge) < tonumber(ARGV[#ARGV]) end

---@return table reply the reports, the number of the newest event, then the answer
local function reply(...) return {REPORTS, event_number() or 0, ...} end
