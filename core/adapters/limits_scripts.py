"""What Redis does for a shared quota: two scripts, each one step that nothing comes between.

A bucket is three keys: what is known of it, the calls under way, and who waits. Times are seconds, of Redis's own clock
or of one that the caller hands in.
"""

from __future__ import annotations

# KEYS bucket, calls under way, waiting. ARGV 1 the caller's clock or '', 2 how many times faster the vendor's clock
# runs, 3 and 4 rate and size until the vendor has said, 5 units that are never counted on, 6 longest life of a call,
# 7 longest rest. The last one of all: what is in a bucket that nobody knows of yet.
_COMMON = """
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local kept = redis.call('HMGET', KEYS[1], 'level', 'at', 'born', 'spent', 'said', 'rate', 'size', 'rest')
local level, at, born = tonumber(kept[1]) or tonumber(ARGV[#ARGV]), tonumber(kept[2]) or now, tonumber(kept[3]) or now
local spent, said = tonumber(kept[4]) or 0, tonumber(kept[5]) or 0
local rate, size = tonumber(kept[6]) or 0, tonumber(kept[7]) or 0
if rate <= 0 then rate = tonumber(ARGV[3]) end
if size <= 0 then size = tonumber(ARGV[4]) end
local factor, headroom, lives = tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- Until when the vendor wants to be left alone by everybody.
local rest = tonumber(kept[8]) or 0

-- A moment that is still to come is from before the clock was set back.
if rest > now + tonumber(ARGV[7]) then rest = 0 end
if born > now then born = now end
if said > now then said = 0 end

-- Calls under way: 'expires sent cost spent-before'. One that nobody came back from is thought to have been paid for.
local flights, under_way = {}, 0
local found = redis.call('HGETALL', KEYS[2])
for i = 1, #found, 2 do
  local expires, sent, cost, before = string.match(found[i + 1], '(%S+) (%S+) (%S+) (%S+)')
  if tonumber(expires) > now + lives then
    -- It begins its life anew.
    expires, sent = string.format('%.6f', now + lives), now
    redis.call('HSET', KEYS[2], found[i], string.format('%s %.6f %s %s', expires, sent, cost, before))
  end
  if tonumber(expires) <= now then
    redis.call('HDEL', KEYS[2], found[i])
    spent = spent + tonumber(cost)
  else
    flights[found[i]] = {expires = expires, sent = tonumber(sent), cost = tonumber(cost), before = tonumber(before)}
    under_way = under_way + tonumber(cost)
  end
end

-- The vendor's bucket may be full before it hears of a call under way, and then nothing more flows into it.
local function keep_below_the_brim()
  level = math.min(level, size - math.max(headroom, under_way))
end
level = level + math.max(0, now - math.max(at, rest)) * rate * factor
keep_below_the_brim()

local function remember()
  redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.6f', now),
    'born', string.format('%.6f', born), 'spent', string.format('%.6f', spent), 'said', string.format('%.6f', said),
    'rest', string.format('%.6f', rest))
  redis.call('EXPIRE', KEYS[1], 86400)
  redis.call('EXPIRE', KEYS[2], 3600)
  redis.call('EXPIRE', KEYS[3], 3600)
end
"""

# ARGV 8 who asks, 9 rank (0 goes before all others), 10 cost, 11 share of what is counted on that it leaves to those
# more urgent, 12 seconds by which it lets others go first, 13 longest wait, 14 seconds until somebody who does not come
# back has lost his place.
# Answers 0 when the units are taken; microseconds after which to ask again; those negative when that is too long.
TAKE = (
    _COMMON
    + """
local me, cost, longest = ARGV[8], tonumber(ARGV[10]), tonumber(ARGV[13])
local mine = {first = ARGV[9] == '0' and 0 or 1, due = now + tonumber(ARGV[12]), id = me}
local function before(one, other)
  if one.first ~= other.first then return one.first < other.first end
  if one.due ~= other.due then return one.due < other.due end
  return one.id < other.id
end

local ahead = {}
found = redis.call('HGETALL', KEYS[3])
for i = 1, #found, 2 do
  local first, due, its_cost, need, gone, asked = string.match(found[i + 1], '(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)')
  if found[i] == me then
    mine.due = math.min(mine.due, tonumber(due))
  elseif tonumber(gone) <= now or tonumber(asked) > now + 1 then
    -- Does not come back, or asked before the clock was set back and has a place again when it does.
    redis.call('HDEL', KEYS[3], found[i])
  else
    table.insert(ahead, {first = tonumber(first), due = tonumber(due), id = found[i], cost = tonumber(its_cost),
      need = tonumber(need)})
  end
end
table.sort(ahead, before)

-- What must lie there for this one alone; and so that everybody ahead could still go at once.
local alone = math.min(cost + tonumber(ARGV[11]) * (size - headroom), size - headroom)
local need, taken_before = 0, 0
for _, other in ipairs(ahead) do
  if not before(other, mine) then break end
  need = math.max(need, cost + taken_before + other.need)
  taken_before = taken_before + other.cost
end
need = math.max(need, taken_before + alone)

if now >= rest and level + 0.000001 >= need then
  redis.call('HDEL', KEYS[3], me)
  level = level - cost
  redis.call('HSET', KEYS[2], me,
    string.format('%.6f %.6f %.6f %.6f', now + lives, now, cost, spent))
  remember()
  return 0
end
local wait = math.max(0, need - level) / (rate * factor) + math.max(0, rest - now)
-- Not before one of the calls under way is answered, and nobody knows when that will be.
if size - under_way < need then wait = math.max(wait, 0.02) end
local micros = math.max(1, math.ceil(wait * 1000000))
if wait > longest then
  redis.call('HDEL', KEYS[3], me)
  remember()
  return -micros
end
redis.call('HSET', KEYS[3], me, string.format('%d %.6f %.6f %.6f %.6f %.6f', mine.first, mine.due, cost, alone,
  now + wait + tonumber(ARGV[14]), now))
remember()
return micros
"""
)

# ARGV 8 whose call, 9 answered, never_left or lost, 10 what it cost or '', 11 units that the vendor says are left or
# '', 12 and 13 rate and size that it says or '', 14 seconds of rest or '', 15 how long a lost one may still arrive.
SETTLE = (
    _COMMON
    + """
local flight = flights[ARGV[8]]
if tonumber(ARGV[12]) then
  rate = tonumber(ARGV[12])
  redis.call('HSET', KEYS[1], 'rate', ARGV[12])
end
if tonumber(ARGV[13]) then
  size = tonumber(ARGV[13])
  redis.call('HSET', KEYS[1], 'size', ARGV[13])
end
if tonumber(ARGV[14]) then rest = math.max(rest, now + tonumber(ARGV[14])) end
if flight and ARGV[9] == 'lost' then
  local expires = math.min(tonumber(flight.expires), now + tonumber(ARGV[15]))
  redis.call('HSET', KEYS[2], ARGV[8],
    string.format('%.6f %.6f %.6f %.6f', expires, flight.sent, flight.cost, flight.before))
elseif flight then
  redis.call('HDEL', KEYS[2], ARGV[8])
  under_way = under_way - flight.cost
  local cost = ARGV[9] == 'never_left' and 0 or tonumber(ARGV[10]) or flight.cost
  local since = spent - flight.before
  level, spent = level + flight.cost - cost, spent + cost
  local left = tonumber(ARGV[11])
  if left then
    -- What else is under way is paid for here already. The vendor's number may have it in or not, and so may what was
    -- answered meanwhile: at the least it is without all of that, at the most with none.
    local most = left
    if flight.sent < said then
      -- Told before something that we have heard already: it has grown since, and raises nothing.
      most = left + (now - flight.sent) * rate * factor
    else
      said = flight.sent
      -- A bucket that was forgotten knows nothing of the calls of before: it may rise when the vendor has heard of all.
      if now - born >= tonumber(ARGV[15]) then level = math.max(level, left - under_way - since) end
    end
    level = math.min(level, most)
  end
end
keep_below_the_brim()
remember()
return 1
"""
)
