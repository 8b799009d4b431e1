-- Renews the lease that a node holds, or takes a new one when that is gone.
-- KEYS[1]  the node's entry in the directory
-- ARGV[1]  number of the lease that the node holds; 0 for none
-- ARGV[2]  number of the lease to take instead
-- ARGV[3]  the entry, as it is to be with the lease ARGV[1]
-- ARGV[4]  the same with the lease ARGV[2]
-- ARGV[5]  how long it lasts, ms
-- Returns the number of the lease that the node holds now; 0 if the call came too late to matter.

-- Numbers only grow. Whatever is delayed on its way finds a higher one, and does nothing.
local there = redis.call('GET', KEYS[1])
local lease = 0
if there then
	local read, entry = pcall(cjson.decode, there)
	if read and type(entry) == 'table' then
		lease = tonumber(entry.lease) or 0
	end
end
if lease ~= 0 and lease == tonumber(ARGV[1]) then
	redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
	return lease
end
if lease > tonumber(ARGV[2]) then
	return 0
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
return tonumber(ARGV[2])
