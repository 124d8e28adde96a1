#!lua flags=allow-oom
-- Marks a call that runs: its caller, or a repeat, is told to wait for the answer at the address of the call. Sent
-- again, the script changes nothing. The answer is then kept for that address.
--
-- KEYS: partition
-- ARGV:
---@param call_id string
---@param wait_hash string SHA-256 of the token in the address, in hexadecimal digits
---@param method string of the request, in lower case
---@param is_own boolean whether it is the caller of the call itself
-- Returns: reports, then OK with the hash that the call keeps (it was marked while it ran); STALE (it has ended).
-- Transition: none.
-- @include reports
-- @arguments

local call = redis.call('HMGET', call_key(call_id), 'status', 'wait_hash', 'caller_waits')
if call[1] ~= 'RUNNING' then return reply('STALE') end
redis.call('XLEN', events_key()) -- it and the next line fail before the first write if a key has a wrong type
now_us()
if not call[2] then
  redis.call('HSET', call_key(call_id), 'wait_hash', wait_hash)
  if method ~= 'get' then redis.call('HSET', call_key(call_id), 'method', method) end
end
if is_own and not call[3] then redis.call('HSET', call_key(call_id), 'caller_waits', '1') end
if not call[2] or is_own and not call[3] then count_step() end
return reply('OK', call[2] or wait_hash)
