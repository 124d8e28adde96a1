-- What a partition has for all its cases: their fields, its time, and its events.

-- Reads all fields: HMGET would look for each of them in the whole hash, which costs several times as much.
---@return table|nil case the fields of a case, each a string or nil, with its id
local function load_case(id)
  local values = redis.call('HGETALL', case_key(id))
  if not values[1] then return nil end
  local case = {id = id, parameter = '', call_count = '0', unfinished = '0', bytes = '0', recorded = '0', version = '0',
    label_digests = '', repeat_window = '0', repeats_until = '0'}
  for i = 1, #values, 2 do case[values[i]] = values[i + 1] end
  case.counted = tonumber(case.recorded)
  return case
end

---@param owner string the owner that the case must have ('' = any)
---@return table|nil case as load_case returns it
local function load_owned_case(id, owner)
  local case = load_case(id)
  if case and (owner == '' or case.owner == owner) then return case end
end

-- While the store's clock is behind the time of the partition, this is how fast that time runs.
local SLOWED = 0.9

-- How much time may have passed since it was kept, in microseconds: sweeps keep it all the time. More is another step.
local MAX_PASSED = 60000000

local time, clock -- read once: the time of the partition, and what the store's clock shows, in microseconds
local clock_digits -- the same as `clock`, in the 16 digits of the years 2001 to 2286
local kept_time = 0

-- Returns the time of the partition: what the store's clock shows. If that has stepped back, it is the last time that
-- was kept and what has passed since, slowed, until the clock is there again. So no lease or retry waits for the clock.
---@return number now in microseconds, later than each time that was kept; it stands still while a script runs
local function now_us()
  if time then return time end
  local t = redis.call('TIME')
  clock = t[1] * 1000000 + t[2]
  clock_digits = t[1] .. string.sub('00000' .. t[2], -6)
  time = clock
  local kept = redis.call('GET', clock_key())
  if not kept then return time end
  kept_time = tonumber(string.sub(kept, 1, 16))
  if clock <= kept_time then
    local passed = math.min(clock - string.sub(kept, 18), MAX_PASSED)
    time = kept_time + math.max(1, math.floor(passed * SLOWED))
  end
  return time
end

local is_kept = false

-- Keeps the time that a script uses, once, so that every later script uses a later one.
local function keep_time()
  if is_kept then return end
  is_kept = true
  local digits = now_us() == clock and clock_digits or string.format('%.0f', time)
  redis.call('SET', clock_key(), digits .. ':' .. clock_digits)
end

-- Returns the time of an event as XRANGE replies it, in milliseconds.
local function time_of_event(event) return cmsgpack.unpack(event[2][2])[6] end

local newest_event -- number of the newest event, once it was read or written
local newest_at = 0 -- its time in milliseconds, 0 = there is none

-- Returns the number of the newest event of the partition, 0 = none; nil if its key has a wrong type. Every reply to a
-- step has it and its time, so that servers know which steps are acknowledged (see epochs/known.py).
local function event_number()
  if not newest_event then
    local newest = redis.pcall('XREVRANGE', events_key(), '+', '-', 'COUNT', 1)
    if newest.err then return nil end
    newest_event = 0
    if newest[1] then newest_event, newest_at = string.sub(newest[1][1], 3), time_of_event(newest[1]) end
  end
  return tonumber(newest_event)
end

-- How many events a partition keeps.
local MAX_EVENTS = 10000

-- Appends an event: one change of a case or a call, for watchers (see the domain's Event). The ids of events are 0-1,
-- 0-2 and so on, without a gap, so that a reader notices when events that it has not read are no longer kept.
local function emit_event(case, what, call_id, call_status, delivery)
  keep_time()
  newest_at = math.floor(now_us() / 1000)
  newest_event = string.sub(redis.call('XADD', events_key(), 'MAXLEN', MAX_EVENTS, '0-*', 'event', cmsgpack.pack({what,
    case.id, call_id and string.sub(call_id, 34) or '', case.activity, case.owner, newest_at, case.status,
    case.reason or '', call_status or '', delivery or '', case.label_digests})), 3)
end

-- Counts a step that no other event stands for, so that its loss is reported. Watchers are not told.
---@param case table|nil the case that the step is about, if it is at hand
local function count_step(case)
  emit_event(case or {id = '', activity = '', owner = '', status = '', label_digests = ''}, 'STEP')
end
