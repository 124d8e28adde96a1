#!lua flags=no-writes
-- Lists the newest cases of an owner in a partition, from a position on. Filters by status, activity, labels, the
-- status of the newest call and the first digits of the id. Walks the indexes by status and activity, or the index of a
-- label if that has fewer cases, and checks the other filters per case.
--
-- KEYS: partition
-- ARGV:
---@param owner string
---@param status string '' = all
---@param last_call string status of the newest call, '' = all
---@param id_prefix string what the ids begin with, '' = anything
---@param before string creation in microseconds, '' = all
---@param limit number cases to return
---@param max_scanned number cases to look at
---@param activities string[] none = all
---@param labels string[] pairs: name, value
-- Returns: how far the script came (the creation of the last case that it looked at; 0 if that was the last of all),
--          then creation and case_id in turn, newest first.
-- @include labels
-- @include status_lists
-- @arguments

local LARGEST_BLOCK = 64

local walked, labels = {}, {}
for i = labels_first, labels_last, 2 do
  local digest = label_digest(ARGV[i], ARGV[i + 1])
  local index = label_key(owner, digest)
  labels[#labels + 1] = {index = index, size = redis.call('ZCARD', index)}
end
table.sort(labels, function(a, b) return a.size < b.size end)

local activities, is_listed = {}, {}
for i = activities_first, activities_last do
  activities[#activities + 1] = ARGV[i]
  is_listed[ARGV[i]] = true
end
local every_activity = #activities == 0
local all = status == '' and every_activity
local by_label, others = #labels > 0 and all, 0
if not by_label then
  local statuses = status ~= '' and {status} or CASE_STATUSES
  if every_activity then activities = redis.call('SMEMBERS', activities_key(owner)) end
  for _, each_activity in ipairs(activities) do
    for _, each_status in ipairs(statuses) do
      local index = index_key(owner, each_status, each_activity)
      walked[#walked + 1] = index
      if #labels > 0 then others = others + redis.call('ZCARD', index) end
    end
  end
  by_label = #labels > 0 and labels[1].size < others
end
if by_label then walked = {table.remove(labels, 1).index} end

local function has_last_call(case_id)
  local newest = redis.call('ZRANGE', calls_key(case_id), -1, -1)[1]
  return newest and redis.call('HGET', call_key(newest), 'status') == last_call
end

local function fits(case_id)
  if case_id:sub(1, #id_prefix) ~= id_prefix then return false end
  for _, label in ipairs(labels) do
    if not redis.call('ZSCORE', label.index, case_id) then return false end
  end
  if by_label then
    local case = redis.call('HMGET', case_key(case_id), 'status', 'activity')
    if status ~= '' and case[1] ~= status or not every_activity and not is_listed[case[2]] then return false end
  end
  return last_call == '' or has_last_call(case_id)
end

-- Returns the next cases of an index, with their creations. Most walks need only the newest one, which is cheap to
-- read.
local function next_block(walk)
  if not walk.block then
    local newest = redis.call('ZRANGE', walk.index, 0, 0, 'REV', 'WITHSCORES')
    if not newest[1] or before == '' or tonumber(newest[2]) < tonumber(before) then return newest end
  end
  return redis.call('ZRANGE', walk.index, '(' .. walk.before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, walk.size,
    'WITHSCORES')
end

-- Moves one case down an index, newest first. The index is read in blocks that grow, because most walks end after a
-- step.
local function step(walk)
  if not walk.block or walk.at >= #walk.block and walk.size > 0 then
    walk.block, walk.at = next_block(walk), 0
    if #walk.block < 2 * walk.size then
      walk.size = 0
    else
      walk.size = math.min(2 * walk.size, LARGEST_BLOCK)
      walk.before = walk.block[#walk.block]
    end
  end
  walk.case_id, walk.created = walk.block[walk.at + 1], tonumber(walk.block[walk.at + 2])
  walk.at = walk.at + 2
end

local walks = {}
for _, index in ipairs(walked) do
  local walk = {index = index, before = before, size = 1}
  step(walk)
  if walk.created then walks[#walks + 1] = walk end
end

local found = {0}
for _ = 1, max_scanned do
  local newest
  for _, walk in ipairs(walks) do
    if walk.created and not (newest and newest.created > walk.created) then newest = walk end
  end
  if not newest then
    found[1] = 0
    break
  end
  found[1] = newest.created
  if fits(newest.case_id) then
    found[#found + 1] = newest.created
    found[#found + 1] = newest.case_id
    if #found > 2 * limit then break end
  end
  step(newest)
end
return found
