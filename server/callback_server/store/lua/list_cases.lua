#!lua flags=no-writes
-- The newest cases of an owner in a partition, from a place on: of a status, of an activity, with labels.
-- Walks the indexes by status and activity, or that of a label if there are fewer cases in it, and looks up the rest.
--
-- KEYS: partition
-- ARGV: owner, activity ('' = all), status ('' = all), before (creation in microseconds, '' = all), limit (cases to
--       return), scan (cases to look at), then pairs of a label's name and value
-- Returns: how far this came (the creation of the last case that was looked at; 0 if that was the last of all), then
--          creation and case_id in turn, newest first.
-- @include labels

local owner, activity, status, before = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, scan = tonumber(ARGV[5]), tonumber(ARGV[6])
local LARGEST_BLOCK = 64

local walked, labels = {}, {}
for i = 7, #ARGV, 2 do
  local index = label_index(owner, ARGV[i], ARGV[i + 1])
  labels[#labels + 1] = {index = index, size = redis.call('ZCARD', index)}
end
table.sort(labels, function(a, b) return a.size < b.size end)

local all = status == '' and activity == ''
local by_label, others = #labels > 0 and all, 0
if not by_label then
  local statuses = status ~= '' and {status} or {'OPEN', 'IN_PROGRESS', 'CLOSED'}
  local activities = activity ~= '' and {activity} or redis.call('SMEMBERS', activities_key(owner))
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

local function fits(case_id)
  for _, label in ipairs(labels) do
    if not redis.call('ZSCORE', label.index, case_id) then return false end
  end
  if not by_label then return true end
  -- None: a process of a release that knew no labels has dropped it.
  local case = redis.call('HMGET', case_key(case_id), 'status', 'activity')
  return case[1] and (status == '' or case[1] == status) and (activity == '' or case[2] == activity)
end

-- The next cases of an index, with their creations. The newest is at hand and mostly the one; others are looked for.
local function next_block(walk)
  if not walk.block then
    local newest = redis.call('ZRANGE', walk.index, 0, 0, 'REV', 'WITHSCORES')
    if not newest[1] or before == '' or tonumber(newest[2]) < tonumber(before) then return newest end
  end
  return redis.call('ZRANGE', walk.index, '(' .. walk.before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, walk.size,
    'WITHSCORES')
end

-- One step down an index, newest first, read in blocks that grow: most walks end after a step.
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

local reply = {0}
for _ = 1, scan do
  local newest
  for _, walk in ipairs(walks) do
    if walk.created and not (newest and newest.created > walk.created) then newest = walk end
  end
  if not newest then
    reply[1] = 0
    break
  end
  reply[1] = newest.created
  if fits(newest.case_id) then
    reply[#reply + 1] = newest.created
    reply[#reply + 1] = newest.case_id
    if #reply > 2 * limit then break end
  end
  step(newest)
end
return reply
