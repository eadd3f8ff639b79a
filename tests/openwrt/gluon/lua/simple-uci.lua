-- As much of lua-simple-uci and libuci as the upgrade script asks for, over the UCI files in the directory $UCI.
-- A file is only written when something in it has changed, so that a test can see a script that changes nothing.

local M = {}
local Cursor = {}
Cursor.__index = Cursor

local function unquoted(word)
	return word:match("^'(.*)'$") or word:match('^"(.*)"$') or word
end

local function parse(path)
	local sections, section, anonymous = {}, nil, 0
	local file = io.open(path)
	if not file then
		return sections
	end
	for line in file:lines() do
		local kind, name, rest = line:match('^%s*(%l+)%s+(%S+)%s*(.-)%s*$')
		if kind == 'config' then
			if rest == '' then
				anonymous = anonymous + 1
			end
			local key = rest ~= '' and unquoted(rest) or 'cfg' .. anonymous
			section = { ['.name'] = key, ['.type'] = unquoted(name), ['.anonymous'] = rest == '', order = {} }
			table.insert(sections, section)
		elseif kind == 'option' then
			section[name] = unquoted(rest)
			table.insert(section.order, name)
		elseif kind == 'list' then
			if not section[name] then
				section[name] = {}
				table.insert(section.order, name)
			end
			table.insert(section[name], unquoted(rest))
		elseif not line:match('^%s*$') and not line:match('^%s*#') then
			error(path .. ': ' .. line)
		end
	end
	file:close()
	return sections
end

local function quoted(value)
	assert(type(value) == 'string' and not value:find("[%c']"), 'no UCI value: ' .. tostring(value))
	return "'" .. value .. "'"
end

local function render(sections)
	local lines = {}
	for _, section in ipairs(sections) do
		local name = section['.anonymous'] and '' or ' ' .. quoted(section['.name'])
		table.insert(lines, 'config ' .. section['.type'] .. name)
		for _, option in ipairs(section.order) do
			if type(section[option]) == 'table' then
				for _, item in ipairs(section[option]) do
					table.insert(lines, '\tlist ' .. option .. ' ' .. quoted(item))
				end
			else
				table.insert(lines, '\toption ' .. option .. ' ' .. quoted(section[option]))
			end
		end
		table.insert(lines, '')
	end
	return table.concat(lines, '\n')
end

local function path(config)
	return os.getenv('UCI') .. '/' .. config
end

function M.cursor()
	return setmetatable({ loaded = {}, touched = {} }, Cursor)
end

function Cursor:sections(config)
	self.loaded[config] = self.loaded[config] or parse(path(config))
	return self.loaded[config]
end

function Cursor:find(config, name)
	for index, section in ipairs(self:sections(config)) do
		if section['.name'] == name then
			return section, index
		end
	end
end

function Cursor:get(config, name, option)
	local section = self:find(config, name)
	if section and option then
		return section[option]
	end
	return section and section['.type']
end

function Cursor:set(config, name, option, value)
	self.touched[config] = true
	local section = self:find(config, name)
	if value == nil then -- set(config, name, type) makes a section
		if section then
			section['.type'] = option
		else
			table.insert(self:sections(config), { ['.name'] = name, ['.type'] = option, order = {} })
		end
		return true
	end
	assert(section, 'no section ' .. name)
	if type(value) == 'boolean' then
		value = value and '1' or '0'
	end
	if section[option] == nil then
		table.insert(section.order, option)
	end
	section[option] = value
	return true
end

function Cursor:delete(config, name, option)
	self.touched[config] = true
	local section, index = self:find(config, name)
	if section and option then
		section[option] = nil
		for n, known in ipairs(section.order) do
			if known == option then
				table.remove(section.order, n)
			end
		end
	elseif section then
		table.remove(self:sections(config), index)
	end
	return true
end

function Cursor:foreach(config, kind, callback)
	for _, section in ipairs(self:sections(config)) do
		if not kind or section['.type'] == kind then
			callback(section)
		end
	end
end

function Cursor:delete_all(config, kind, comparator)
	local names = {}
	self:foreach(config, kind, function(section)
		if comparator(section) then
			table.insert(names, section['.name'])
		end
	end)
	for _, name in ipairs(names) do
		self:delete(config, name)
	end
end

function Cursor:section(config, kind, name, values)
	self:set(config, name, kind)
	local keys = {}
	for key in pairs(values) do
		table.insert(keys, key)
	end
	table.sort(keys) -- libuci's order is that of pairs(); a test wants the same every time
	for _, key in ipairs(keys) do
		self:set(config, name, key, values[key])
	end
	return name
end

function Cursor:save(config)
	local text = render(self:sections(config))
	local before = render(parse(path(config)))
	if self.touched[config] and text ~= before then
		local file = assert(io.open(path(config), 'w'))
		file:write(text)
		file:close()
	end
	return true
end

return M
