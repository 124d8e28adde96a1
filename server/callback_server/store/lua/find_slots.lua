#!lua flags=no-writes
-- Returns the number of free slots that the workers of each replica have.
--
-- KEYS: workers
-- ARGV: none
-- Returns: replica, valid_ms (how long the announcement is valid) and slots (packed), for each replica that has
--          workers.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
local announced = redis.call('HGETALL', KEYS[1])
for i = 1, #announced, 2 do
  local valid_until, slots = string.match(announced[i + 1], '^(%d+):(.*)$')
  if tonumber(valid_until) > now then
    found[#found + 1] = announced[i]
    found[#found + 1] = tonumber(valid_until) - now
    found[#found + 1] = slots
  end
end
return found
