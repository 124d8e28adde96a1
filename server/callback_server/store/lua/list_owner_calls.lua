#!lua flags=no-writes
-- Lists the newest calls of an owner in a partition, from a position on: held calls that wait, or calls whose delivery
-- is DEAD.
--
-- KEYS: partition
-- ARGV: filter (WAITING or DEAD), owner, before_start ('' = all), before_call_id (the position: only older calls),
--       limit
-- Returns: start and call_id in turn, newest first.
-- @include key_functions
-- @arguments

local index = filter == 'WAITING' and waiting_key(owner) or dead_key(owner)
local found, at = {}, 0
while #found < 2 * limit do
  local block = redis.call('ZRANGE', index, before_start == '' and '+inf' or before_start, '-inf', 'BYSCORE', 'REV',
    'LIMIT', at, limit, 'WITHSCORES')
  for i = 1, #block, 2 do
    if before_start == '' or tonumber(block[i + 1]) < tonumber(before_start) or block[i] < before_call_id then
      found[#found + 1] = tonumber(block[i + 1])
      found[#found + 1] = block[i]
    end
  end
  if #block < 2 * limit then break end
  at = at + limit
end
return found
