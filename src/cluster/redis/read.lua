-- Renews an inbox and returns the batches after a cursor. The rules are in cluster/memory/engine.rs.
--
-- KEYS[1]  the inbox, a stream
-- ARGV     the cursor, the maximum number of entries, the time to live in milliseconds
-- Returns  the entries
local key, cursor, max, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

-- Compares decimals without leading zeros, exactly.
local function is_less(a, b)
  return #a < #b or #a == #b and a < b
end

local function read(after)
  local streams = redis.call('XREAD', 'COUNT', max, 'STREAMS', key, after)
  return streams and streams[1][2]
end

redis.call('PEXPIRE', key, ttl)
local entries = read(cursor)
if entries then
  return entries
end
local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
if last then
  local millis, sequence = last[1]:match('^(%d+)-(%d+)$')
  local cursor_millis, cursor_sequence = cursor:match('^(%d+)-(%d+)$')
  if is_less(millis, cursor_millis) or millis == cursor_millis and is_less(sequence, cursor_sequence) then
    -- The inbox was replaced.
    return read('0-0')
  end
end
return {}
