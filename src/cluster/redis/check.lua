-- Runs each command of the other scripts on a key that nothing else uses, and deletes it.
--
-- KEYS[1]  the key
-- Returns  the commands that failed, each followed by its error
local key, failed = KEYS[1], {}

local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = select(1, ...)
    failed[#failed + 1] = reply.err
  end
end

try('TIME')
try('DEL', key)
try('HSET', key, 'field', 1)
try('HINCRBY', key, 'field', 1)
try('HGET', key, 'field')
try('HGETALL', key)
try('HDEL', key, 'field')
redis.pcall('DEL', key)
try('XADD', key, 'NOMKSTREAM', '*', 'field', 1)
try('XREAD', 'COUNT', 1, 'STREAMS', key, '0-0')
try('XREVRANGE', key, '+', '-', 'COUNT', 1)
try('PEXPIRE', key, 1)
redis.pcall('DEL', key)
return failed
