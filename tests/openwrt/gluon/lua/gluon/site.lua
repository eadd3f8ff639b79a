-- Gluon's module of the same name, over the Lua table in the file $SITE: every path may be asked for, a call gives its
-- value or the default.

local function wrap(value)
	return setmetatable({}, {
		__index = function(_, key)
			if type(value) == 'number' or type(value) == 'boolean' then
				error('attempt to index a number or boolean value')
			end
			if type(value) == 'table' then
				return wrap(value[key])
			end
			return wrap(nil)
		end,
		__call = function(_, default)
			if value == nil then
				return default
			end
			return value
		end,
	})
end

return wrap(assert(loadfile(os.getenv('SITE')))())
