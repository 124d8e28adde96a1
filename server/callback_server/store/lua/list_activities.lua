#!lua flags=no-writes
-- Counts what waits for the activities of a partition, in the order of their names, from a position on.
--
-- KEYS: partition
-- ARGV: owner, after (the position: only later names, '' = all),
--       every (whether to count activities with deliveries that are not among the given ones),
--       limit, activities... (to count besides those of the owner's cases)
-- Returns: activity, the number of its deliveries that wait or run, and of the owner's cases that are not closed, in
--          turn; without activities that have neither.
-- @include key_functions
-- @include status_lists
-- @arguments

-- Compares bytes. The operator of Lua compares by the locale of the store.
local function is_before(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a < b end
  end
  return #one < #other
end

local names, known = {}, {}
local function add(name)
  if not known[name] and is_before(after, name) then
    known[name] = true
    names[#names + 1] = name
  end
end
for _, name in ipairs(redis.call('SMEMBERS', activities_key(owner))) do add(name) end
if every then
  for _, name in ipairs(redis.call('SMEMBERS', delivery_activities_key())) do add(name) end
  for _, name in ipairs(redis.call('SMEMBERS', notification_activities_key())) do add(name) end
end
for i = activities_first, activities_last do add(ARGV[i]) end
table.sort(names, is_before)

local found = {}
for _, name in ipairs(names) do
  if #found >= 3 * limit then break end
  local deliveries = redis.call('ZCARD', due_key(name)) + redis.call('ZCARD', notification_due_key(name))
  local cases = 0
  for _, status in ipairs(NOT_CLOSED) do cases = cases + redis.call('ZCARD', index_key(owner, status, name)) end
  if deliveries + cases > 0 then
    found[#found + 1] = name
    found[#found + 1] = deliveries
    found[#found + 1] = cases
  end
end
return found
