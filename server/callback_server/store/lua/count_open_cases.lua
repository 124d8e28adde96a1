#!lua flags=no-writes
-- How many cases of an owner are not closed, in a partition.
--
-- KEYS: partition
-- ARGV: owner
-- Returns: the number.
-- @include life

local owner = ARGV[1]

local open = 0
for _, activity in ipairs(redis.call('SMEMBERS', activities_key(owner))) do
  open = open + redis.call('ZCARD', index_key(owner, 'OPEN', activity))
  open = open + redis.call('ZCARD', index_key(owner, 'IN_PROGRESS', activity))
end
return {open}
