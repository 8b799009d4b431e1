-- Says which nodes' leases have not ended, as far as the list knows.
-- KEYS[1]  the list: ids, by when their leases end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
