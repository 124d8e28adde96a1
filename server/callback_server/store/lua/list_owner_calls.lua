#!lua flags=no-writes
-- The newest held calls of an owner that wait, or the newest calls whose delivery is dead, in a partition, from a place on.
--
-- KEYS: partition
-- ARGV: which (WAITING or DEAD), owner, start ('' = all) and call_id of the place before which they are, limit
-- Returns: start and call_id in turn, newest first.
-- @include life

local which, owner, start, before, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local index = which == 'WAITING' and waiting_key(owner) or dead_key(owner)
local found, at = {}, 0
while #found < 2 * limit do
  local block = redis.call('ZRANGE', index, start == '' and '+inf' or start, '-inf', 'BYSCORE', 'REV', 'LIMIT', at, limit,
    'WITHSCORES')
  for i = 1, #block, 2 do
    if start == '' or tonumber(block[i + 1]) < tonumber(start) or block[i] < before then
      found[#found + 1] = tonumber(block[i + 1])
      found[#found + 1] = block[i]
    end
  end
  if #block < 2 * limit then break end
  at = at + limit
end
return found
