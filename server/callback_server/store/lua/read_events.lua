#!lua flags=no-writes
-- Reads the oldest events of a partition from a number on.
--
-- KEYS: partition
-- ARGV: first_number (of an event; '' = the newest event alone), limit
-- Returns: the number of the first event (0 = there is none), then the events, packed, in their order. If the event
--          with the requested number is no longer kept, the first event is a later one.
-- @arguments

local events = first_number == '' and redis.call('XREVRANGE', events_key(), '+', '-', 'COUNT', 1)
  or redis.call('XRANGE', events_key(), '0-' .. first_number, '+', 'COUNT', limit)
local found = {events[1] and tonumber(string.sub(events[1][1], 3)) or 0}
for i, event in ipairs(events) do found[i + 1] = event[2][2] end
return found
