-- Increments the count of a node and declares the proposed nodes dead. The rules are in cluster/memory/engine.rs.
--
-- KEYS[1]  a hash: node -> its count in decimal, or 'dead' and the time of the verdict in milliseconds
-- ARGV     this node, then for each proposal the node and its count in decimal
-- Returns  the fields of the hash
local key, me = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local day = 24 * 60 * 60 * 1000

-- Compares decimals without leading zeros. A number of Lua is a double, which does not have every u64.
local function is_at_most(a, b)
  return #a < #b or #a == #b and a <= b
end

local function is_dead(value)
  return value and value:sub(1, 4) == 'dead'
end

local nodes = redis.call('HGETALL', key)
for i = 1, #nodes, 2 do
  if is_dead(nodes[i + 1]) and tonumber(nodes[i + 1]:sub(6)) + day <= now then
    redis.call('HDEL', key, nodes[i])
  end
end

if not is_dead(redis.call('HGET', key, me)) then
  redis.call('HINCRBY', key, me, 1)
end
for i = 2, #ARGV, 2 do
  local count = redis.call('HGET', key, ARGV[i])
  if not count or not is_dead(count) and is_at_most(count, ARGV[i + 1]) then
    redis.call('HSET', key, ARGV[i], string.format('dead %.0f', now))
  end
end
-- When no node is left, nothing removes the last counts and verdicts.
redis.call('PEXPIRE', key, 2 * day)
return redis.call('HGETALL', key)
