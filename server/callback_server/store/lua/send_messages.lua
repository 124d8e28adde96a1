#!lua flags=allow-oom
-- Appends messages to the queue of a replica. The queue of a dead replica expires.
--
-- KEYS: messages
-- ARGV:
---@param expire_ms number after the last message
---@param max_messages number in the queue
---@param messages string[]
-- Returns: OK, or FULL: no message was appended.
-- @arguments

if redis.call('LLEN', KEYS[1]) + messages_last - messages_first + 1 > max_messages then return 'FULL' end
for i = messages_first, messages_last do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], expire_ms)
return 'OK'
