#!lua
-- Says which places for calls the workers of a replica have. What a replica that is dead has said goes.
--
-- KEYS: workers
-- ARGV: replica, places (packed), valid_ms (0 = it has no workers any more)
-- Returns: OK.

local replica, places, valid_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
  local said = redis.call('HGET', KEYS[1], other)
  if other == replica or tonumber(string.match(said, '^%d+')) <= now then redis.call('HDEL', KEYS[1], other) end
end
if valid_ms > 0 then redis.call('HSET', KEYS[1], replica, string.format('%.0f:', now + valid_ms) .. places) end
return 'OK'
