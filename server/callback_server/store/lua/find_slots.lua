#!lua flags=no-writes
-- Which places for calls the workers of all replicas have.
--
-- KEYS: workers
-- ARGV: none
-- Returns: replica, valid_ms (for how long that holds) and places (packed), of each replica that has workers.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
local said = redis.call('HGETALL', KEYS[1])
for i = 1, #said, 2 do
  local till, places = string.match(said[i + 1], '^(%d+):(.*)$')
  if tonumber(till) > now then
    found[#found + 1] = said[i]
    found[#found + 1] = tonumber(till) - now
    found[#found + 1] = places
  end
end
return found
