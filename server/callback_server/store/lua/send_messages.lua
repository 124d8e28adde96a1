#!lua
-- Puts letters into the mailbox of a replica. A mailbox that nobody empties, for its replica is dead, ends by itself.
--
-- KEYS: mailbox
-- ARGV: keep_ms (for how long, from the last letter), most (letters in a mailbox), then the letters
-- Returns: OK, or FULL: nothing was put in.

local keep_ms, most = tonumber(ARGV[1]), tonumber(ARGV[2])

if redis.call('LLEN', KEYS[1]) + #ARGV - 2 > most then return 'FULL' end
for i = 3, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], keep_ms)
return 'OK'
