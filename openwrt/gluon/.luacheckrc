-- As Gluon's own: Lua 5.1 as in its images, and what check-site.lua offers to check_site.lua.
codes = true
std = "min"
self = false

files["**/check_site.lua"] = {
	read_globals = {
		"need", "need_array", "need_boolean", "need_one_of", "need_string_array_match", "need_string_match",
		"need_table", "value",
	},
}
