#!lua flags=no-writes
-- Counts what is open, waits and is dead in a partition.
--
-- KEYS: partition
-- ARGV:
---@param owners string[]
-- Returns: the number of deliveries that wait or run, of all owners; how long ago the earliest of them became due, in
--          milliseconds (0 = none is due); for how long the oldest held call of these owners has waited, in
--          milliseconds (0 = none waits); then for each owner the number of cases that are not closed, of held calls
--          that wait, and of calls and notifications whose delivery is DEAD.
-- @include status_lists
-- @arguments

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local deliveries, delay = 0, 0
local function add_list(list)
  deliveries = deliveries + redis.call('ZCARD', list)
  local first = redis.call('ZRANGE', list, 0, 0, 'WITHSCORES')
  if first[2] then delay = math.max(delay, now - tonumber(first[2])) end
end
for _, name in ipairs(redis.call('SMEMBERS', delivery_activities_key())) do add_list(due_key(name)) end
for _, name in ipairs(redis.call('SMEMBERS', notification_activities_key())) do add_list(notification_due_key(name)) end

local found = {deliveries, delay, 0}
for i = owners_first, owners_last do
  local owner, open = ARGV[i], 0
  for _, activity in ipairs(redis.call('SMEMBERS', activities_key(owner))) do
    for _, status in ipairs(NOT_CLOSED) do open = open + redis.call('ZCARD', index_key(owner, status, activity)) end
  end
  found[#found + 1] = open
  local oldest = redis.call('ZRANGE', waiting_key(owner), 0, 0, 'WITHSCORES')
  if oldest[2] then found[3] = math.max(found[3], now - tonumber(oldest[2])) end
  found[#found + 1] = redis.call('ZCARD', waiting_key(owner))
  found[#found + 1] = redis.call('ZCARD', dead_key(owner))
end
return found
