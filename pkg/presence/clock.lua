-- What the scripts want to know of the server that runs them. Tests put a server of their own in the place of this file.

-- micros is the time of this Redis, in microseconds.
local function micros()
	local time = redis.call('TIME')
	return time[1] * 1000000 + time[2]
end

-- server names the process, so that a failover or a restart shows; empty if this user must not ask.
local function server()
	local info = redis.pcall('INFO', 'server')
	return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end
