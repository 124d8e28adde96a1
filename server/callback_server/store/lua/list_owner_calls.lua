#!lua flags=no-writes
-- Lists the calls of an owner in a partition, from a position on: held calls that wait, calls whose delivery is DEAD,
-- calls of an activity whose delivery waits for its next attempt, or calls that have ended.
--
-- KEYS: partition
-- ARGV:
---@param filter string WAITING, DEAD, PENDING or ENDED
---@param owner string
---@param before_time string time of the call at the position: only those with an earlier one, '' = all
---@param before_call_id string id of that call
---@param limit number
---@param max_scanned number calls to look at in each list
---@param ended_after string the earliest time of ENDED calls, '' = any
---@param activities string[] only calls of these; none = all. For PENDING one
-- Returns: how far the script came (time and call_id of the last call that it looked at; 0 and '' if there may be no
--          more, or the limit is reached), then time and call_id in turn, of each list the latest first. The time is
--          the start of a call, for PENDING its next attempt, for ENDED its end, in milliseconds.
-- @include partition
-- @arguments

local function waits_for_owner(call_id)
  local case_id = string.sub(call_id, 1, 32)
  return redis.call('HGET', case_key(case_id), 'owner') == owner
    and redis.call('HGET', call_key(call_id), 'delivery') == 'PENDING'
end

local is_listed = {}
for i = activities_first, activities_last do is_listed[ARGV[i]] = true end
local lists_all = activities_last < activities_first
local function is_of_activities(call_id)
  local case_id = string.sub(call_id, 1, 32)
  return is_listed[redis.call('HGET', case_key(case_id), 'activity')]
end

local function is_of_owner(call_id)
  local case_id = string.sub(call_id, 1, 32)
  local case = redis.call('HMGET', case_key(case_id), 'owner', 'activity')
  return case[1] == owner and (lists_all or is_listed[case[2]])
end

-- The lists, the time after which a call has to be, and what else it has to be.
local indexes, earliest, fits = {dead_key(owner)}, '-inf', not lists_all and is_of_activities
if filter == 'WAITING' then
  indexes = {waiting_key(owner)}
elseif filter == 'PENDING' then -- what is due by now is about to be taken, also because it was replayed since
  local activity = ARGV[activities_first]
  indexes, earliest, fits =
    {due_key(activity), notification_due_key(activity)}, '(' .. math.floor(now_us() / 1000), waits_for_owner
elseif filter == 'ENDED' then -- of all owners
  indexes, fits = {ended_key()}, is_of_owner
  if ended_after ~= '' then earliest = ended_after end
end

local found, more_time, more_call_id = {0, ''}, 0, ''
for _, index in ipairs(indexes) do
  local count, at = 0, 0
  while count < limit do
    local block = redis.call('ZRANGE', index, before_time == '' and '+inf' or before_time, earliest, 'BYSCORE', 'REV',
      'LIMIT', at, limit, 'WITHSCORES')
    for i = 1, #block, 2 do
      local time, call_id = tonumber(block[i + 1]), block[i]
      local follows = before_time == '' or time < tonumber(before_time) or call_id < before_call_id
      if follows and (not fits or fits(call_id)) then
        found[#found + 1] = time
        found[#found + 1] = call_id
        count = count + 1
      end
    end
    if #block < 2 * limit then break end
    at = at + limit
    if at >= max_scanned and count < limit then
      local time, call_id = tonumber(block[#block]), block[#block - 1]
      if time > more_time or (time == more_time and call_id > more_call_id) then
        more_time, more_call_id = time, call_id
      end
      break
    end
  end
end
found[1], found[2] = more_time, more_call_id
return found
