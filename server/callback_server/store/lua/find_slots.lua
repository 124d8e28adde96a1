#!lua flags=no-writes
-- Returns the number of free slots that the workers of each replica have. An announcement that is valid for longer than
-- any is made for does not count: the store's clock has stepped back since, and a replica that lives announces again.
--
-- KEYS: workers
-- ARGV: none
-- Returns: replica, valid_ms (how long the announcement is valid) and slots (packed), for each replica that has
--          workers.

local MAX_VALID_MS = 60000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
local announced = redis.call('HGETALL', KEYS[1])
for i = 1, #announced, 2 do
  local valid_until, slots = string.match(announced[i + 1], '^(%d+):(.*)$')
  if tonumber(valid_until) > now and tonumber(valid_until) <= now + MAX_VALID_MS then
    found[#found + 1] = announced[i]
    found[#found + 1] = tonumber(valid_until) - now
    found[#found + 1] = slots
  end
end
return found
