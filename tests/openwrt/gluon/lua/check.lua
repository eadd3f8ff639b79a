-- Runs a check_site.lua on the site in the file $SITE, as Gluon's check-site.lua does: arg[1] names the script. The
-- need_* functions behave as gluon.validator's.

local site = assert(loadfile(os.getenv('SITE')))()
local env = setmetatable({}, { __index = _G })

local function shown(path)
	return path.label or table.concat(path, '.')
end

local function load(path)
	if path.label then
		return path.value
	end
	local value = site
	for _, key in ipairs(path) do
		if value == nil then
			return nil
		elseif type(value) ~= 'table' then
			error(shown(path) .. ': not in a table', 0)
		end
		value = value[key]
	end
	return value
end

local function extended(path, key)
	local longer = { unpack(path) }
	longer[#longer + 1] = key
	return longer
end

function env.value(label, value)
	return { label = label, value = value }
end

function env.need(path, check, required, message)
	local value = load(path)
	if required == false and value == nil then
		return nil
	end
	if not check(value) then
		local found = value == nil and 'unset' or tostring(value) .. ' (a ' .. type(value) .. ' value)'
		error(string.format('expected %s to %s, but it is %s', shown(path), message, found), 0)
	end
	return value
end

local function typed(kind, message)
	return function(path, required)
		return env.need(path, function(value) return type(value) == kind end, required, message)
	end
end

env.need_boolean = typed('boolean', 'be a boolean')
env.need_string = typed('string', 'be a string')

function env.need_one_of(path, array, required)
	return env.need(path, function(value)
		for _, allowed in ipairs(array) do
			if allowed == value then
				return true
			end
		end
		return false
	end, required, 'be one of ' .. table.concat(array, ', '))
end

function env.need_string_match(path, pattern, required)
	local value = env.need_string(path, required)
	if value and not value:match(pattern) then
		error(string.format("expected %s to match pattern '%s', but it is %s", shown(path), pattern, value), 0)
	end
	return value
end

local function tables(path, check, required, keys)
	local value = typed('table', 'be a table')(path, required)
	if value and check then
		for key in keys(value) do
			check(extended(path, key))
		end
	end
	return value
end

function env.need_table(path, check, required)
	return tables(path, check, required, pairs)
end

function env.need_array(path, check, required)
	return tables(path, check, required, ipairs)
end

function env.need_string_array_match(path, pattern, required)
	return env.need_array(path, function(each) env.need_string_match(each, pattern) end, required)
end

local ok, message = pcall(setfenv(assert(loadfile(arg[1])), env))
if not ok then
	io.stderr:write('*** ', message, '\n')
	os.exit(1)
end
