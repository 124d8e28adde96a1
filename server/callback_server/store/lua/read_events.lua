#!lua flags=no-writes
-- The oldest events of a partition after a place.
--
-- KEYS: partition
-- ARGV: after (the number of an event; '' = after all that there are), limit
-- Returns: the numbers of the newest event, and of the first that follows (0 = none); then the events, packed, in their
--          order. The first is not the next after the place, if events between are no longer kept.
-- @include life

local after, limit = ARGV[1], tonumber(ARGV[2])

local function number_of(event) return tonumber(string.sub(event[1], 3)) end

local newest = redis.call('XREVRANGE', events_key(), '+', '-', 'COUNT', 1)[1]
if not newest then return {0, 0} end
if after == '' or tonumber(after) >= number_of(newest) then return {number_of(newest), 0} end

local events = redis.call('XRANGE', events_key(), '(0-' .. after, '+', 'COUNT', limit)
local found = {number_of(newest), number_of(events[1])}
for _, event in ipairs(events) do found[#found + 1] = event[2][2] end
return found
