#!lua flags=allow-oom
-- Marks a call that runs: its caller gets the fallback. Sent again for a call that was marked before, the script
-- changes nothing. A fallback that accepts the request starts a delivery: the attempt that runs is the first one.
--
-- KEYS: partition
-- ARGV:
---@param case_id string
---@param call_id string
---@param request string the request as it came, '' = it is stored so
---@param request_body string its body
---@param accepts boolean whether the fallback accepts the request, and a handler decides
-- Returns: reports, then OK (the call was marked while it ran); STALE (it has ended, or its
--          lease has).
-- Transition: of a delivery nothing -> RUNNING.
-- @include types
-- @arguments

local call = redis.call('HMGET', call_key(call_id), 'status', 'fallback_sent', 'partial', 'size', 'request',
  'request_body')
if call[2] then return reply('OK') end
local now = math.floor(now_us() / 1000)
local lease = call[1] == 'RUNNING' and tonumber(redis.call('ZSCORE', leases_key(), call_id))
if not lease or lease <= now then return reply('STALE') end

local case = load_case(case_id)
if not case then return reply('STALE') end
check_types(case, {})
redis.call('HSET', call_key(call_id), 'fallback_sent', '1')
if not accepts then
  count_step(case)
  return reply('OK')
end
if call[3] and call[5] ~= '' then -- the next attempt needs the whole request
  local grown = #request + #request_body - #call[5] - #call[6]
  redis.call('HSET', call_key(call_id), 'request', request, 'request_body', request_body, 'recorded_request', call[5],
    'size', call[4] + grown)
  case.recorded = case.recorded + grown
  write_totals(case)
  if call[6] ~= request_body then redis.call('HSET', call_key(call_id), 'drops_body', '1') end
  redis.call('HDEL', call_key(call_id), 'partial')
end
redis.call('HSET', call_key(call_id), 'delivery_start', now, 'attempts_started', 1)
set_delivery_status(case, call_id, 'RUNNING')
return reply('OK')
