-- Applies a step to a member list. The rules are in cluster/memory/engine.rs.
--
-- KEYS[1]  the list, a hash: token -> row, and head -> count, nonce, lineage
-- ARGV     seen head ('' for none), condition, nonce, lineage, max_members, then one argument for each change
-- Returns  result (0 applied, 1 condition failed, 2 full), time, head, and the fields of the hash or nil
--
-- Numbers are hexadecimal with a fixed length, because a number of Lua is a double. A token has 32 digits. A row has
-- position (16), id (8), favored (1) and time (16).
local key, seen, condition, nonce, lineage, max = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local function halves(hex)
  return tonumber(hex:sub(1, 8), 16), tonumber(hex:sub(9, 16), 16)
end

local function is_above(a, b)
  local a_high, a_low = halves(a)
  local b_high, b_low = halves(b)
  return a_high > b_high or a_high == b_high and a_low > b_low
end

local function next_of(hex)
  local high, low = halves(hex)
  if low < 0xffffffff then
    low = low + 1
  elseif high < 0xffffffff then
    high, low = high + 1, 0
  end
  return string.format('%08x%08x', high, low)
end

local time = redis.call('TIME')
-- Milliseconds need 41 of the 53 bits.
local millis = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%08x%08x', math.floor(millis / 0x100000000), millis % 0x100000000)
local head = redis.call('HGET', key, 'head') or ''

local function reply(result, fields)
  if head ~= '' and head == seen then
    fields = false
  elseif not fields then
    fields = redis.call('HGETALL', key)
  end
  return {result, now, head, fields}
end

local kind, operand = condition:sub(1, 1), condition:sub(2)
local holds = kind == 'a'
  or kind == 'u' and head == seen
  or kind == 'w' and redis.call('HGET', key, operand:sub(1, 32)) == operand:sub(33)
  or kind == 'l' and (head == '' or head:sub(33) == operand)
if not holds then
  return reply(1)
end
if #ARGV == 5 then
  return reply(0)
end

-- Apply the changes to a copy.
local stored = redis.call('HGETALL', key)
local rows, token_at, len = {}, {}, 0
for i = 1, #stored, 2 do
  if stored[i] ~= 'head' then
    rows[stored[i]] = stored[i + 1]
    token_at[stored[i + 1]:sub(1, 16)] = stored[i]
    len = len + 1
  end
end
local len_before = len
local count, founding
if head ~= '' then
  count, founding = head:sub(1, 16), head:sub(33)
end
local changed = {}

local function set(token, row)
  local old = rows[token]
  if old == row then
    return
  end
  if old then
    len = len - 1
    if token_at[old:sub(1, 16)] == token then
      token_at[old:sub(1, 16)] = nil
    end
  end
  if row then
    len = len + 1
    token_at[row:sub(1, 16)] = token
  end
  rows[token] = row
  changed[token] = true
end

for i = 6, #ARGV do
  local change, token, operand = ARGV[i]:sub(1, 1), ARGV[i]:sub(2, 33), ARGV[i]:sub(34)
  local old = rows[token]
  if change == 'r' then
    set(token, nil)
    if len == 0 then
      count = nil
    end
  else
    if not count then
      count, founding = '0000000000000000', lineage
    end
    if change == 'p' then
      local holder = token_at[operand:sub(1, 16)]
      if holder and holder ~= token then
        operand = next_of(count) .. operand:sub(17)
      end
      if is_above(operand:sub(1, 16), count) then
        count = operand:sub(1, 16)
      end
      set(token, operand)
    elseif old then
      set(token, old:sub(1, 16) .. operand:sub(1, 8) .. old:sub(25))
    else
      count = next_of(count)
      set(token, count .. operand .. now)
    end
  end
end
if len > math.max(max, len_before) then
  return reply(2, stored)
end

-- Store the copy.
for token in pairs(changed) do
  if rows[token] then
    redis.call('HSET', key, token, rows[token])
  else
    redis.call('HDEL', key, token)
  end
end
if count then
  if next(changed) then
    head = count .. nonce .. founding
    redis.call('HSET', key, 'head', head)
  end
  redis.call('PEXPIRE', key, 6 * 60 * 60 * 1000)
else
  redis.call('DEL', key)
  head = ''
end
local fields = {}
for token, row in pairs(rows) do
  fields[#fields + 1] = token
  fields[#fields + 1] = row
end
return reply(0, fields)
