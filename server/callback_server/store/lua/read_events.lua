#!lua flags=no-writes
-- The oldest events of a partition from one on.
--
-- KEYS: partition
-- ARGV: from (the number of an event; '' = the newest alone), limit
-- Returns: the number of the first (0 = there is none), then the events, packed, in their order. The first is not the one
--          that was asked for, if that is not kept.
-- @include life

local from, limit = ARGV[1], tonumber(ARGV[2])

local events = from == '' and redis.call('XREVRANGE', events_key(), '+', '-', 'COUNT', 1)
  or redis.call('XRANGE', events_key(), '0-' .. from, '+', 'COUNT', limit)
local found = {events[1] and tonumber(string.sub(events[1][1], 3)) or 0}
for i, event in ipairs(events) do found[i + 1] = event[2][2] end
return found
