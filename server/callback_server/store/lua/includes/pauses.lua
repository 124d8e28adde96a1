-- Updates the partition's copy of the paused activities, unless the copy has the same version or a later one. ARGV has
-- the activities from `first` to `last`.
local function sync_pauses(version, first, last)
  if tonumber(version) <= tonumber(redis.call('HGET', pauses_key(), '') or 0) then return end
  redis.call('DEL', pauses_key())
  redis.call('HSET', pauses_key(), '', version)
  for i = first, last do redis.call('HSET', pauses_key(), ARGV[i], '1') end
end
