-- SPDX-License-Identifier: Apache-2.0

local known = {
	'enabled', 'domain', 'role', 'peers', 'mdns', 'mesh_interfaces', 'store_size', 'log_level',
}

need_table({'qpq'}, function(path)
	need_one_of(value('the name of an option in qpq', path[#path]), known)
end, false)

need_boolean({'qpq', 'enabled'}, false)
need_boolean({'qpq', 'mdns'}, false)
need_one_of({'qpq', 'role'}, {'auto', 'leaf', 'relay', 'hub'}, false)
need_one_of({'qpq', 'log_level'}, {'error', 'warning', 'info', 'debug'}, false)
need_string_match({'qpq', 'domain'}, '^[%w._-]+$', false)
need_string_match({'qpq', 'store_size'}, '^%d+[KMG]?$', false)

-- host:port, 192.0.2.1:7000, [2001:db8::1]:7000 or [fe80::1%br-client]:7000
need_string_array_match({'qpq', 'peers'}, '^%[?[%x:.%w%%_-]+%]?:%d+$', false)

-- Linux cuts names of interfaces after 15 bytes
need_array({'qpq', 'mesh_interfaces'}, function(path)
	local name = need_string_match(path, '^[%w@._-]+$')
	need(value('the length of ' .. name, #name), function(n)
		return n <= 15
	end, true, 'be at most 15')
end, false)
