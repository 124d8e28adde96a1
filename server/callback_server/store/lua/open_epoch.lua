#!lua flags=allow-oom
-- Opens a partition: checks that it continues what the sender knows of it, and begins the next epoch if another primary
-- has the partition than at the last opening. What the rules are, and why: epochs/known.py.
--
-- KEYS: partition
-- ARGV:
---@param epoch_id string random
---@param known_number number of the newest epoch that the sender knows, 0 = none
---@param known_id string its id
---@param known_replication_ids string of its primary and of the same one before its restarts
---@param counted_number number of the last epoch of the store that the sender has counted the steps of
---@param counted_ids string the ids of that epoch and of those before it, the last ones
---@param counted_steps number how many it has seen there
---@param counted_at number when the newest one was made, in milliseconds, 0 = unknown
---@param never_loses boolean whether a primary that restarts has every step
---@param accepts boolean whether the operator accepts what this store has
-- Returns: OK, the number, the id and the replication ids of the epoch, the number of the newest one until now (0 =
--          none), the ids of the last epochs, how many steps the partition has of what was counted (-1 = all, and it
--          goes on), the ids that were sent for that, and whether a promotion, or an operator, has given up the rest;
--          OTHER with the number of the newest epoch: the store does not have what the sender knows; FEWER with that
--          number of steps: it does not have those of the epoch.
-- Transition: none.
-- @include partition
-- @arguments

-- How many epochs a partition remembers, and how many of them and of the restarts of a primary a server does.
local KEPT, RETURNED = 64, 8
-- By how much the number grows with another primary: more often the former one does not restart meanwhile.
local PROMOTION = 1000
-- From which number on an operator has accepted what the store has.
local ACCEPTED = 1000000000 * PROMOTION

local replication = redis.call('INFO', 'replication')
local replication_id = string.match(replication, 'master_replid:(%x+)') or ''
local former_id = string.match(replication, 'master_replid2:(%x+)') or ''
if not string.find(former_id, '[^0]') then former_id = '' end -- the node was not promoted since its start
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local primary = run_id .. ':' .. replication_id
local newest = redis.call('XREVRANGE', events_key(), '+', '-', 'COUNT', 1)
local events = newest[1] and string.sub(newest[1][1], 3) or '0'

local stored, numbers, ids = {}, {}, {}
local all = redis.call('HGETALL', epochs_key())
for i = 1, #all, 2 do
  local number = tonumber(all[i])
  stored[all[i]] = all[i + 1]
  if number then
    numbers[#numbers + 1] = number
    ids[number] = string.match(all[i + 1], '^%x+')
  end
end
table.sort(numbers)
local last = numbers[#numbers] or 0

local function was_promoted(id) return string.sub(id, 1, 1) == 'f' end

-- Returns what all epochs of one store have at the end of their ids. Empty: a release before has begun the epoch.
local function origin_of(id) return string.sub(id, 18) end

local origin = numbers[1] and '' or origin_of(known_id)
for _, number in ipairs(numbers) do
  local of_epoch = origin_of(ids[number])
  if of_epoch ~= '' then origin = of_epoch end
end

local function is_of_other_store(id) return origin ~= '' and origin_of(id) ~= '' and origin_of(id) ~= origin end

-- A primary that gets its first replica takes another replication id, and has no second one. It goes on as before: no
-- connection to it ends, and steps that servers make meanwhile are not lost.
local goes_on = run_id ~= '' and former_id == ''
  and string.sub(stored.primary or '', 1, #run_id + 1) == run_id .. ':'
local begins = accepts or stored.primary ~= primary and not goes_on
local is_promoted = accepts or begins and former_id ~= ''

local is_newer = known_number == 0 or known_number < tonumber(stored.first or 0) or ids[known_number] == known_id
for _, number in ipairs(numbers) do
  local id = ids[number]
  is_newer = is_newer or was_promoted(id) and (number > known_number or number == known_number and id > known_id)
end
if is_of_other_store(known_id) then is_newer = last >= ACCEPTED and last > known_number end
if not (is_newer or accepts or is_promoted and string.find(known_replication_ids, former_id, 1, true)) then
  return {'OTHER', last}
end

-- Returns how many steps of a store that has as many are those that were counted, math.huge = all. Not all are, if it
-- has got older data and other servers have made steps there: these were made later than all that were counted.
local function shared_steps()
  local function time_of(number)
    local id = string.format('0-%.0f', number)
    local event = redis.call('XRANGE', events_key(), id, id)[1]
    return event and time_of_event(event) or 0 -- 0: it is not kept any more
  end
  local found_at = time_of(counted_steps)
  if counted_at == 0 or found_at == 0 or found_at == counted_at then return math.huge end
  local shared, other = 0, counted_steps
  while other - shared > 1 do
    local middle = math.floor((shared + other) / 2)
    if time_of(middle) > counted_at then other = middle else shared = middle end
  end
  return shared
end

-- Returns how many steps there are of what was counted, whether a promotion, or an operator, has given up the rest, and
-- whether the same epoch goes on.
local function continued()
  local at = 0
  for i, number in ipairs(numbers) do
    if string.find(counted_ids, ids[number], 1, true) then at = i end
  end
  -- Of an old primary that has restarted often, the sender knows no epoch that this store has. A promotion has a higher
  -- number than all of them. The numbers of another store say nothing: it has none of these steps.
  local is_elsewhere = is_of_other_store(string.match(counted_ids, '%x*$'))
  if at == 0 and not is_elsewhere then
    while numbers[at + 1] and numbers[at + 1] < counted_number do at = at + 1 end
  end
  local steps, is_given_up = tonumber(events), is_promoted
  if numbers[at + 1] then steps = tonumber(string.match(stored[string.format('%.0f', numbers[at + 1])], '%d+$')) end
  if steps >= counted_steps then steps = math.min(steps, shared_steps()) end
  if is_elsewhere then steps = 0 end
  for i = at + 1, #numbers do is_given_up = is_given_up or was_promoted(ids[numbers[i]]) end
  return steps, is_given_up, not (begins or numbers[at + 1])
end

local steps, is_given_up, is_same = continued()
if steps < counted_steps and never_loses and not is_given_up then return {'FEWER', steps} end
if steps >= counted_steps and is_same then steps = -1 end

local number = last
local of_primary = stored.replication_ids or ''
if not string.find(of_primary, replication_id, 1, true) or begins then
  of_primary = is_promoted and replication_id or string.sub(replication_id .. ',' .. of_primary, 1, RETURNED * 41)
  redis.call('HSET', epochs_key(), 'replication_ids', of_primary)
end
if begins then
  number = math.max(last, known_number) + (is_promoted and PROMOTION or 1)
  -- There is less than one promotion a second. So the time is higher than all that any server knows.
  if accepts then number = math.max(number, redis.call('TIME')[1] * PROMOTION) end
  local name = string.format('%.0f', number)
  if origin == '' then origin = string.sub(numbers[1] and ids[numbers[1]] or '0' .. epoch_id, 2, 9) end
  numbers[#numbers + 1], ids[number] = number, (is_promoted and 'f' or '0') .. epoch_id .. origin
  redis.call('HSET', epochs_key(), 'primary', primary, 'number', name, name, ids[number] .. ':' .. events)
  if #numbers > KEPT then
    -- A restart, if there is one: promotions are where steps were lost, also those of a server that comes back late.
    local oldest = 1
    while was_promoted(ids[numbers[oldest]]) and oldest < KEPT do oldest = oldest + 1 end
    if was_promoted(ids[numbers[oldest]]) then oldest = 1 end
    redis.call('HDEL', epochs_key(), string.format('%.0f', table.remove(numbers, oldest)))
    redis.call('HSET', epochs_key(), 'first', string.format('%.0f', numbers[oldest]))
  end
end

local last_ids = {}
for i = math.max(1, #numbers - RETURNED + 1), #numbers do last_ids[#last_ids + 1] = ids[numbers[i]] end
local rest = is_given_up and 1 or 0
return {'OK', number, ids[number], of_primary, last, table.concat(last_ids, ','), steps, counted_ids, rest}
