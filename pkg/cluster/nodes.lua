-- Puts a node into the list of nodes, and takes out those whose leases have ended.
-- KEYS[1]  the list: ids, by when their leases end
-- ARGV[1]  the node's id
-- ARGV[2]  how long its lease lasts, ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
