-- What the scripts of a partition have in common. Each of them begins with the same keys:
-- KEYS[1]  inc   hash: incarnation → sequence number of the last batch applied, ":", 1 once all its connections were announced;
--                or "x" while it is being swept
-- KEYS[2]  due   sorted set: users without connections, by the ms at which they go offline
-- KEYS[3]  on    sorted set: users who are online, all with score 1
-- KEYS[4]  ver   id of the last entry of the log
-- KEYS[5]  log   stream of transitions; an id is version-microseconds
-- KEYS[6]  seen  epoch, since when attended without a break, when last attended (ms), and by which server; with spaces between
-- KEYS[7]  gone  sorted set: incarnations that were swept, by the ms at which that began
local now = math.floor(micros() / 1000)
local day = 86400000

-- record writes a transition into the log. Each entry names the one before it: a reader that misses one notices.
local function record(user, online)
	local last = redis.call('GET', KEYS[4])
	if not last then
		redis.call('DEL', KEYS[5])
		last = '0-0'
	end
	local id = string.format('%.0f-%.0f', tonumber(string.match(last, '^%d+')) + 1, micros())
	redis.call('XADD', KEYS[5], 'MAXLEN', '~', 10000, id, 'u', user, 'o', online, 'p', last)
	redis.call('PEXPIRE', KEYS[5], day)
	redis.call('SET', KEYS[4], id, 'PX', day)
end

-- come puts a user among those who are online; it returns how many transitions that was.
local function come(user)
	redis.call('ZREM', KEYS[2], user)
	if redis.call('ZADD', KEYS[3], 1, user) == 0 then
		return 0
	end
	record(user, 1)
	return 1
end

-- leave lets a user whose last connection has gone go offline, at once or after a time; it returns how many transitions
-- that was.
local function leave(user, after)
	if not redis.call('ZSCORE', KEYS[3], user) then
		return 0
	end
	if after > 0 then
		redis.call('ZADD', KEYS[2], now + after, user)
		return 0
	end
	redis.call('ZREM', KEYS[3], user)
	record(user, 0)
	return 1
end

-- attended says since when the partition has been looked after without a break longer than gap; nil if it is not now.
local function attended(gap)
	local seen = redis.call('GET', KEYS[6])
	if not seen then
		return nil
	end
	local since, last = string.match(seen, '^%d+ (%d+) (%d+) ')
	if now - tonumber(last) > gap then
		return nil
	end
	return tonumber(since)
end

-- fence makes whatever an incarnation has sent, or will send, have no effect from now on. A first batch is refused when it is older
-- than the time for which that is remembered.
local function fence(inc)
	redis.call('HSET', KEYS[1], inc, 'x')
	redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', now - 60000)
	redis.call('ZADD', KEYS[7], 'NX', now, inc)
	redis.call('PEXPIRE', KEYS[7], 120000)
end

-- incarnations gives those of the same node as another one: what inc holds about them, by number; and the number of the other one.
local function incarnations(inc)
	local node, number = string.match(inc, '^(.*#)(%d+)$')
	local found = {}
	local all = redis.call('HGETALL', KEYS[1])
	for i = 1, #all, 2 do
		if string.sub(all[i], 1, #node) == node then
			local n = tonumber(string.sub(all[i], #node + 1))
			if n then
				found[n] = all[i + 1]
			end
		end
	end
	return found, tonumber(number), node
end
