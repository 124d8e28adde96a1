-- What a script reports besides its answer, in the order in which it happened: leases and hold times that ended, cases
-- that expired, calls that ended with the answer of their case or while repeats wait with them, and entries of lists
-- without a sound case. Each is reported exactly once, by the execution that applies it, whatever that was asked for.
-- @include partition

local REPORTS = {}

-- Returns whether the store has lost steps that the server has seen. The last two arguments are the number and the
-- time of the newest one (0 = unknown). If the event of that number has another time, the store has got older data, and
-- other servers have made as many steps since. The script then does nothing, which could hide the loss from others.
local function has_lost_steps()
  local number, seen, seen_at = event_number(), tonumber(ARGV[#ARGV - 1]), tonumber(ARGV[#ARGV])
  if not number then return false end
  if number < seen then return true end
  if seen_at == 0 then return false end
  if number == seen then return newest_at ~= seen_at end
  local event = redis.call('XRANGE', events_key(), '0-' .. seen, '0-' .. seen)[1] -- none: it is not kept any more
  return event and time_of_event(event) ~= seen_at
end

---@return table reply the reports, the number and the time of the newest event, then the answer
local function reply(...) return {REPORTS, event_number() or 0, newest_at, ...} end
