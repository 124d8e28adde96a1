#!lua flags=allow-oom
-- Finds the entries of a list that should not be there: their case or call does not exist, or has another state.
-- Removes them if it is asked to, which a transition never does.
--
-- KEYS: partition
-- ARGV:
---@param list string its key, without the tag of the partition
---@param kind string as in the table of keys
---@param first number a position
---@param limit number
---@param removes_entries boolean otherwise they are only reported
-- Returns: the position at which to continue (-1 = there are no more entries), then each such case or call.
-- Transition: none.
-- @include entries
-- @include notifications
-- @arguments

local key = KEYS[1] .. ':' .. list
local is_queue = kind == 'queue'
local is_readable, entries = pcall(redis.call, is_queue and 'LRANGE' or 'ZRANGE', key, first, first + limit - 1)
if not is_readable then
  -- A key of a wrong type. That of one case is reported with it, by repair_case.
  if is_queue or kind == 'calls' or kind == 'held' then return {-1} end
  return redis.error_reply(entries.err)
end

local function is_right(member)
  local case = load_case(string.sub(member, 1, 32))
  if not case then return false end
  if kind == 'index' then return key == index_key(case.owner, case.status, case.activity) end
  if kind == 'label' then return true end
  if kind == 'closed' then return case.status == 'CLOSED' end
  if kind == 'expiries' then return case.status ~= 'CLOSED' end
  if kind == 'reminders' then return not is_decided(case) end
  if not call_exists(member) then return false end
  local call = redis.call('HMGET', call_key(member), 'status', 'delivery')
  local runs, delivery = call[1] == 'RUNNING', call[2]
  if kind == 'calls' then return true end
  if kind == 'held' or kind == 'waiting' then return runs end
  if kind == 'leases' then return runs and delivery ~= 'PENDING' end
  if kind == 'dead' then return delivery == 'DEAD' end
  local is_delivered = delivery == 'PENDING' or delivery == 'RUNNING'
  if kind == 'ended' then return not runs and not is_delivered end
  return is_delivered -- a queue, `due` or `notification_due`
end

local wrong = {}
for _, member in ipairs(entries) do
  local is_known, right = pcall(is_right, member) -- no: a key has a wrong type, as repair_case reports
  if is_known and not right then
    wrong[#wrong + 1] = member
    if removes_entries and is_queue then
      redis.call('LREM', key, 1, member)
    elseif removes_entries then
      redis.call('ZREM', key, member)
    end
  end
end
local next_position = first + #entries - (removes_entries and #wrong or 0)
return {#entries == limit and next_position or -1, unpack(wrong)}
