-- Appends a batch to an inbox. The rules are in cluster/memory/engine.rs.
--
-- KEYS[1]  the inbox, a stream
-- ARGV     the number of entries above which the oldest ones are dropped, the time to live of a new inbox in
--          milliseconds, the batch
local key, max, ttl, batch = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if not redis.call('XADD', key, 'NOMKSTREAM', 'MAXLEN', '~', max, '*', 'b', batch) then
  redis.call('XADD', key, '*', 'b', batch)
  -- Only the reader renews this.
  redis.call('PEXPIRE', key, ttl)
end
