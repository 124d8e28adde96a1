#!lua flags=allow-oom
-- Opens a partition: checks that it continues what the sender knows of it, and begins the next epoch if another primary
-- has the partition than at the last opening. An old primary that comes back does not have the newest epoch.
--
-- A replica that was promoted before it had the newest epoch has the replication id of that epoch's primary as its
-- second one, so it is no old primary. What it lacks is given up, and so is what the operator accepts to lose: the
-- epoch that then begins is valid for all who know a lower one.
--
-- KEYS: partition
-- ARGV:
---@param epoch_id string random
---@param known_number number of the newest epoch that the sender knows, 0 = none
---@param known_id string its id
---@param known_replication_id string of its primary
---@param counted_number number of the epoch whose steps the sender has counted
---@param replicas number how many must be attached where an epoch begins
---@param accepts boolean whether the operator accepts what this store has
-- Returns: OK, the number, the id and the replication id of the epoch, the number of the newest one until now (0 =
--          none), and how many events the partition had when the first epoch after the counted one began (-1 = it is
--          the newest); OTHER with the number of the newest epoch: the store does not have what the sender knows; FEW
--          with the number of the replicas that are attached: no epoch has begun.
-- Transition: none.
-- @arguments

-- How many epochs a partition remembers.
local KEPT = 64

local replication = redis.call('INFO', 'replication')
local replication_id = string.match(replication, 'master_replid:(%x+)') or ''
local former_id = string.match(replication, 'master_replid2:(%x+)') or ''
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local primary = run_id .. ':' .. replication_id
local newest = redis.call('XREVRANGE', events_key(), '+', '-', 'COUNT', 1)
local events = newest[1] and string.sub(newest[1][1], 3) or '0'

local stored = redis.call('HMGET', epochs_key(), 'primary', 'number', 'accepted', 'first', known_number)
local last, accepted, first = tonumber(stored[2] or 0), tonumber(stored[3] or 0), tonumber(stored[4] or 0)
local knows_all = known_number == 0 or known_number < first
  or (stored[5] and string.match(stored[5], '^%x+') == known_id)
local gives_up = accepts
if not knows_all and accepted <= known_number and not accepts then
  if known_replication_id == '' or former_id ~= known_replication_id then return {'OTHER', last} end
  gives_up = true
end

-- A primary that gets its first replica takes another replication id, and has no second one. It goes on as before: no
-- connection to it ends, and steps that servers make meanwhile are not lost.
local goes_on = run_id ~= '' and not string.find(former_id, '[^0]')
  and string.sub(stored[1] or '', 1, #run_id + 1) == run_id .. ':'
local number = last
if stored[1] ~= primary and not goes_on or gives_up then
  -- An old primary that comes back has no replica. An epoch that it began would exclude the present one.
  local _, attached = string.gsub(replication, 'state=online', '')
  if attached < replicas and not accepts then return {'FEW', attached} end
  number = math.max(last, known_number) + 1
  -- Epochs begin less than once a second. So the time is higher than all that any server knows.
  if accepts then number = math.max(number, tonumber(redis.call('TIME')[1])) end
  local name = string.format('%.0f', number)
  -- Two primaries can begin an epoch with the same number. The higher id counts then (see epochs/known.py): that of a
  -- replica that was promoted, and not that of an old primary that was restarted.
  local id = (string.find(former_id, '[^0]') and 'f' or '0') .. epoch_id
  redis.call('HSET', epochs_key(), 'primary', primary, 'number', name, name, id .. ':' .. events)
  if gives_up then redis.call('HSET', epochs_key(), 'accepted', name) end
end

local numbers, begun = {}, {}
local all = redis.call('HGETALL', epochs_key())
for i = 1, #all, 2 do
  local each = tonumber(all[i])
  if each then
    numbers[#numbers + 1] = each
    begun[each] = all[i + 1]
  end
end
table.sort(numbers)
if #numbers > KEPT then
  redis.call('HDEL', epochs_key(), string.format('%.0f', numbers[1]))
  redis.call('HSET', epochs_key(), 'first', string.format('%.0f', numbers[2]))
end
local events_before = -1
if counted_number > 0 then
  for i = #numbers, 1, -1 do
    if numbers[i] > counted_number or (numbers[i] == known_number and not knows_all) then
      events_before = tonumber(string.match(begun[numbers[i]], '%d+$'))
    end
  end
end
local id = string.match(begun[number], '^%x+')
return {'OK', number, id, replication_id, last, events_before}
