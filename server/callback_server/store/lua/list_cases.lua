#!lua flags=no-writes
-- The newest cases of an owner in a partition, from a place on.
--
-- KEYS: partition
-- ARGV: owner, activity ('' = all), statuses (comma separated), max (creation in microseconds, '(' before it if that one
--       is not wanted, or '+inf'), limit
-- Returns: creation and case_id in turn, newest first.
-- @include life

local owner, activity, statuses, max, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local activities = activity ~= '' and {activity} or redis.call('SMEMBERS', activities_key(owner))
local found = {}
for _, name in ipairs(activities) do
  for status in string.gmatch(statuses, '[^,]+') do
    local page = redis.call('ZRANGE', index_key(owner, status, name), max, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit,
      'WITHSCORES')
    for i = 1, #page, 2 do found[#found + 1] = {page[i + 1], page[i]} end
  end
end
table.sort(found, function(a, b) return tonumber(a[1]) > tonumber(b[1]) end)
local flat = {}
for i = 1, math.min(limit, #found) do
  flat[#flat + 1] = tonumber(found[i][1])
  flat[#flat + 1] = found[i][2]
end
return flat
