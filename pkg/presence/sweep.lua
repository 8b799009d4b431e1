-- Removes what an incarnation left behind that does not hold its lease any more, some connections at a time.
-- KEYS[1…7]  as in common.lua
-- KEYS[8]    n:INC of the incarnation, as in apply.lua
-- KEYS[9…]   u:USER for each connection; KEYS[8] for an anonymous one
-- ARGV[1]    the incarnation
-- ARGV[2]    how long its users stay online, ms
-- ARGV[3]    how long nobody may have attended the partition before that counts as an outage, ms
-- ARGV[4]    how long it must have been attended since the last outage, ms; 0: that does not matter
-- then       for each connection: its id, its user
-- Returns    {1 done as asked, 0 not yet; connections removed; users who went offline; who have begun to leave; connections left over}
local inc, remain, hold = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])

if hold > 0 then
	-- After an outage, others get time to say that they are still there.
	local since = attended(tonumber(ARGV[3]))
	if not since or now - since < hold then
		return {0, 0, 0, 0, 0}
	end
end
-- A later incarnation of the same node may be about to announce the same connections.
local all, mine = incarnations(inc)
for n, held in pairs(all) do
	if n > mine and string.find(held, ':0', 1, true) then
		return {0, 0, 0, 0, 0}
	end
end

fence(inc)
local prefix = inc .. '\n'
local swept, left, leaving = 0, 0, 0
for i = 5, #ARGV, 2 do
	local id, user = ARGV[i], ARGV[i + 1]
	swept = swept + redis.call('HDEL', KEYS[8], id)
	if user ~= '' then
		local u = KEYS[8 + (i - 5) / 2 + 1]
		local there = redis.call('HGET', u, id)
		if there and string.sub(there, 1, #prefix) == prefix then
			redis.call('HDEL', u, id)
			if redis.call('EXISTS', u) == 0 then
				left = left + leave(user, remain)
				leaving = leaving + 1
			end
		end
	end
end
local over = redis.call('HLEN', KEYS[8])
if over == 0 then
	redis.call('HDEL', KEYS[1], inc)
end
return {1, swept, left, leaving, over}
