-- Looks after a partition: users whose time has come go offline. Tells what there is to know about it.
-- KEYS[1…7]  as in common.lua
-- ARGV[1]    incarnation of the node that asks; empty: it only looks
-- ARGV[2]    how many users may go offline at once
-- ARGV[3]    how long nobody may have attended the partition before that counts as an outage, ms
-- ARGV[4]    how long it must have been attended since the last outage before anybody goes offline, ms
-- Returns    {now, epoch (empty: there is none), since when attended without an outage (now: there is one), ver, users who went offline, when the next is due or 0, then what inc holds: names and values}
local gap, hold = tonumber(ARGV[3]), tonumber(ARGV[4])

local seen = redis.call('GET', KEYS[6]) or ''
local epoch, since, last, by = string.match(seen, '^(%d+) (%d+) (%d+) (%x*)$')
local me = server()
if not epoch or now - tonumber(last) > gap or by ~= me then
	-- Users may have come back to nodes that could not tell, or that have told a server that is no more. They get time.
	since = now
end
local offline = 0
if ARGV[1] ~= '' then
	epoch = epoch or string.format('%.0f', micros())
	redis.call('SET', KEYS[6], string.format('%s %.0f %.0f %s', epoch, since, now, me), 'PX', day)
	-- Both end at the same moment, when nobody has looked after them for a day: the one means nothing without the other.
	redis.call('PEXPIREAT', KEYS[2], now + day)
	redis.call('PEXPIREAT', KEYS[3], now + day)
	if now - since >= hold then
		for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[2])) do
			redis.call('ZREM', KEYS[2], user)
			offline = offline + leave(user, 0)
		end
	end
end
local due = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local reply = {now, epoch or '', tonumber(since), redis.call('GET', KEYS[4]) or '0-0', offline, tonumber(due[2]) or 0}
for _, text in ipairs(redis.call('HGETALL', KEYS[1])) do
	reply[#reply + 1] = text
end
return reply
