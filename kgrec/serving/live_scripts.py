"""What runs inside Redis: each script is one step that no other client can come between.

Keys (one namespace a log): span, a hash of the part of the log that is held (start, reached, tail);
users, a sorted set of marks by the offset of their last event; gone, the marks of the forgotten;
evicted, a count; and one sorted set of events a user, by time and then by offset.
"""

# KEYS: span, users, gone, evicted. ARGV: prefix of the users' keys, most events, most users, first
# offset of this part of the log or "" for events out of turn, offset after it, id of its last
# event, then mark, time and content of each event; a content begins with its offset, 16 digits.
# Returns what is reached then, -1 where nothing is held; what would leave a hole is not taken in.
TAKE_IN = """
local reached = tonumber(redis.call('HGET', KEYS[1], 'reached') or -1)
if ARGV[4] ~= '' and reached < tonumber(ARGV[4]) then return reached end
for n = 7, #ARGV, 3 do
  local mark, offset = ARGV[n], tonumber(string.sub(ARGV[n + 2], 1, 16))
  local known = ARGV[4] ~= '' and offset < reached
  if not known and redis.call('SISMEMBER', KEYS[3], mark) == 0 then
    local key = ARGV[1] .. mark
    redis.call('ZADD', key, ARGV[n + 1], ARGV[n + 2])
    redis.call('ZREMRANGEBYRANK', key, 0, -1 - tonumber(ARGV[2]))
    redis.call('ZADD', KEYS[2], 'GT', offset, mark)
  end
end
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if excess > 0 then
  local least = redis.call('ZPOPMIN', KEYS[2], excess)
  for n = 1, #least, 2 do redis.call('UNLINK', ARGV[1] .. least[n]) end
  redis.call('INCRBY', KEYS[4], excess)
end
if ARGV[4] ~= '' and tonumber(ARGV[5]) > reached then
  redis.call('HSET', KEYS[1], 'reached', ARGV[5], 'tail', ARGV[6])
  reached = tonumber(ARGV[5])
end
return reached
"""

# KEYS: span. ARGV: what is reached as it was seen. Lets nobody trust what is held any more.
DISOWN = """
if redis.call('HGET', KEYS[1], 'reached') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# KEYS: span, users. ARGV: prefix of the users' keys, most users. Lets go of users while nobody
# trusts what is held; returns whether there may be more.
SWEEP = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local some = redis.call('ZPOPMIN', KEYS[2], ARGV[2])
for n = 1, #some, 2 do redis.call('UNLINK', ARGV[1] .. some[n]) end
return #some
"""

# KEYS: span. ARGV: start. Begins to hold the log from there, unless another has begun.
BEGIN = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'start', ARGV[1], 'reached', ARGV[1], 'tail', '')
end
"""

# KEYS: span. ARGV: start. Says that the log is held from an earlier start on.
EXTEND = """
local start = tonumber(redis.call('HGET', KEYS[1], 'start') or -1)
if start > tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'start', ARGV[1]) end
"""
