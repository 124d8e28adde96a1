#!lua flags=allow-oom
-- Records how many steps of a partition were gone when an epoch began. Several servers can report the same loss; the
-- highest number is the right one, because a server knows only the steps that it has seen.
--
-- KEYS: partition
-- ARGV:
---@param epoch string its number
---@param lost_epoch string the number of the epoch that the steps were made in
---@param steps number
-- Returns: OK.
-- Transition: none.
-- @arguments

local known = redis.call('HGET', losses_key(), epoch)
if known and tonumber(string.match(known, '^%d+')) >= steps then return 'OK' end
redis.call('HSET', losses_key(), epoch,
  string.format('%.0f', steps) .. ':' .. lost_epoch .. ':' .. redis.call('TIME')[1])
return 'OK'
