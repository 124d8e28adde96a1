-- Brings the partition's copy of what is paused to a version, which `ARGV` has from `at` on, with the activities after it;
-- unless the copy is of that version, or a later one.
local function sync_pauses(at)
  if tonumber(ARGV[at]) <= tonumber(redis.call('HGET', pauses_key(), '') or 0) then return end
  redis.call('DEL', pauses_key())
  redis.call('HSET', pauses_key(), '', ARGV[at])
  for i = at + 1, #ARGV do redis.call('HSET', pauses_key(), ARGV[i], '1') end
end
