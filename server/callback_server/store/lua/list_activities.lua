#!lua flags=no-writes
-- Counts what waits for the activities of a partition, in the order of their names, from a position on.
--
-- KEYS: partition
-- ARGV:
---@param owner string
---@param after string the position: only later names, '' = all
---@param of_deliveries boolean whether to count the activities with deliveries of any owner
---@param limit number activities to return
---@param max_scanned number activities to look at
---@param only string[] which activities of the owner's cases to count; none = all
---@param activities string[] others to count
-- Returns: how far the script came (the last activity that it looked at; '' if that was the last of all), then
--          activity, the number of its deliveries that wait or run, and of the owner's cases that are not closed, in
--          turn; without activities that have neither.
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

-- Only the first names are kept in order, because to sort all names of an owner would block the store.
local first, known = {}, {}
local function add(name)
  local last = first[max_scanned + 1]
  if known[name] or not is_before(after, name) or last and not is_before(name, last) then return end
  known[name] = true
  local low, high = 1, #first + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_before(first[middle], name) then low = middle + 1 else high = middle end
  end
  table.insert(first, low, name)
  first[max_scanned + 2] = nil
end
for i = only_first, only_last do
  if redis.call('SISMEMBER', activities_key(owner), ARGV[i]) == 1 then add(ARGV[i]) end
end
if only_first > only_last then
  for _, name in ipairs(redis.call('SMEMBERS', activities_key(owner))) do add(name) end
end
if of_deliveries then
  for _, name in ipairs(redis.call('SMEMBERS', delivery_activities_key())) do add(name) end
  for _, name in ipairs(redis.call('SMEMBERS', notification_activities_key())) do add(name) end
end
for i = activities_first, activities_last do add(ARGV[i]) end

local found = {''}
for at, name in ipairs(first) do
  if at > max_scanned or #found > 3 * limit then
    found[1] = first[at - 1]
    break
  end
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
