-- Applies a batch of changes by one incarnation of a node, once.
-- KEYS[1…7]   as in common.lua
-- KEYS[8]     n:INC, hash of the incarnation: connection → "=" and its user, or "-" and what is known of an anonymous one
-- KEYS[9…]    the same of F former incarnations of the node, whose connections it may still have
-- then        u:USER for each change, hash: connection → incarnation, line feed, what is known of it; KEYS[8] for an anonymous one
-- ARGV[1]     the incarnation
-- ARGV[2]     sequence number of the batch, from 1
-- ARGV[3]     the partition's time, ms, when the incarnation was begun
-- ARGV[4]     1 if all connections of the node are announced with this batch
-- ARGV[5]     grace period, ms
-- ARGV[6]     F
-- then        for each change: connection, user (empty: anonymous), "+" and what is known of it, or "-" when it has left
-- Returns     {1 applied, 0 was applied before, -1 GONE, -2 GAP; users who came online; who went offline; who have begun to leave}
local inc, seq, grace, formers = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[6])

local held = redis.call('HGET', KEYS[1], inc)
local applied, done = 0, '0'
if held then
	local a, d = string.match(held, '^(%d+):(%d)$')
	if not a then
		return {-1, 0, 0, 0} -- it is being swept
	end
	applied, done = tonumber(a), d
	if seq <= applied then
		return {0, 0, 0, 0}
	end
elseif seq ~= 1 or now - tonumber(ARGV[3]) > 30000 or redis.call('ZSCORE', KEYS[7], inc) then
	-- A first batch that is a repetition could bring back what was swept. It is remembered for longer than a first batch is good.
	return {-1, 0, 0, 0}
end
if seq ~= applied + 1 then
	return {-2, 0, 0, 0}
end
if seq == 1 then
	local all, mine, node = incarnations(inc)
	for n in pairs(all) do
		if n > mine then
			return {-1, 0, 0, 0}
		end
	end
	for n, was in pairs(all) do
		if n < mine and was ~= 'x' then
			fence(string.format('%s%.0f', node, n))
		end
	end
end

local prefix = inc .. '\n'
local came, left, leaving = 0, 0, 0
for i = 7, #ARGV, 3 do
	local id, user, what = ARGV[i], ARGV[i + 1], ARGV[i + 2]
	local u = KEYS[8 + formers + (i - 7) / 3 + 1]
	if string.sub(what, 1, 1) == '+' then
		for f = 9, 8 + formers do
			redis.call('HDEL', KEYS[f], id)
		end
		if user == '' then
			redis.call('HSET', KEYS[8], id, '-' .. string.sub(what, 2))
		else
			redis.call('HSET', KEYS[8], id, '=' .. user)
			redis.call('HSET', u, id, prefix .. string.sub(what, 2))
			came = came + come(user)
		end
	elseif user == '' then
		redis.call('HDEL', KEYS[8], id)
	else
		local there = redis.call('HGET', u, id)
		if there and string.sub(there, 1, #prefix) == prefix then
			redis.call('HDEL', KEYS[8], id)
			redis.call('HDEL', u, id)
			if redis.call('EXISTS', u) == 0 then
				left = left + leave(user, grace)
				leaving = leaving + 1
			end
		end
	end
end
if ARGV[4] == '1' then
	done = '1'
end
redis.call('HSET', KEYS[1], inc, string.format('%.0f:%s', seq, done))
return {1, came, left, leaving}
