#!lua flags=no-writes
-- Lists the newest calls of an owner in a partition, from a position on: held calls that wait, or calls whose delivery
-- is DEAD.
--
-- KEYS: partition
-- ARGV:
---@param filter string WAITING or DEAD
---@param owner string
---@param before_start string start of the call at the position: only older calls, '' = all
---@param before_call_id string id of that call
---@param limit number
---@param max_scanned number calls to look at
---@param activities string[] only calls of these; none = all
-- Returns: how far the script came (start and call_id of the last call that it looked at; 0 and '' if there may be no
--          more, or the limit is reached), then start and call_id in turn, newest first.
-- @arguments

local index = filter == 'WAITING' and waiting_key(owner) or dead_key(owner)
local is_listed, every_activity = {}, activities_first > activities_last
for i = activities_first, activities_last do is_listed[ARGV[i]] = true end
local function fits(call_id)
  if every_activity then return true end
  local case_id = string.sub(call_id, 1, 32)
  return is_listed[redis.call('HGET', case_key(case_id), 'activity')]
end

local found, at = {0, ''}, 0
while #found < 2 + 2 * limit do
  local block = redis.call('ZRANGE', index, before_start == '' and '+inf' or before_start, '-inf', 'BYSCORE', 'REV',
    'LIMIT', at, limit, 'WITHSCORES')
  for i = 1, #block, 2 do
    local follows = before_start == '' or tonumber(block[i + 1]) < tonumber(before_start) or block[i] < before_call_id
    if follows and fits(block[i]) then
      found[#found + 1] = tonumber(block[i + 1])
      found[#found + 1] = block[i]
    end
  end
  if #block < 2 * limit then break end
  at = at + limit
  if at >= max_scanned and #found < 2 + 2 * limit then
    found[1], found[2] = tonumber(block[#block]), block[#block - 1]
    break
  end
end
return found
