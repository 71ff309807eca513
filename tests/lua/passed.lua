-- SPDX-License-Identifier: MIT
-- Waits for a line, calls functions of the interpreter with arguments and results that it knows, waits again, and says
-- what it knows: lines PROBE<tab>NAME=VALUE<tab>..., VALUE s:HEX (a string), f:HEXFLOAT, i:INTEGER, null.
local known, count = {}, 0
local function know(probe, ...)
	count = count + 1
	known[count] = table.pack(probe, ...)
end
local null = {}
local function pointer(o) return { pointer = string.format("%p", o) } end

local big, tiny = 1.7976931348623157e308, 5e-324
local min, max = math.mininteger, math.maxinteger
local main = pointer(coroutine.running())
local sleeping = coroutine.create(function() coroutine.yield() end)
coroutine.resume(sleeping)
local other = pointer(sleeping)
local texts = {
	"return x", "", "two words", "quote \" back \\ slash / tab \t line \n bell \a",
	"häß € 𝄞", "\xff bad \xc3( utf \xed\xa0\x80",
	("x"):rep(126), ("x"):rep(127), ("x"):rep(128), ("long "):rep(3000), "before\0after", "%s%n%d", "\27[31m", "',;|${}<>&",
}
local floats = {
	0.0, -0.0, 1.0, -2.25, 0.1, 1 / 3, 1e300, -1e-300, tiny, big, math.pi, 123456789.125, 2 ^ 53, -1 / 0, 1 / 0, 0 / 0,
}
local integers = {
	0, 1, -1, 7, -7, 255, 65536, -2147483648, 2147483647, 4294967296, -4294967297, max, min, min + 1,
}
local shifts = { 0, 1, 7, 31, 32, 63, 64, -1, -63, min }
local numerals = {
	"0", "12", "-7", "0x1p4", " 12 ", "12x", "", ".", "1e400", "nan", ("9"):rep(126), ("9"):rep(200), "é",
}
local lists, addresses = {}, {}
for i = 0, 9 do
	lists[i] = {}
	for j = 1, i * i do lists[i][j] = j end
	addresses[i] = pointer(lists[i])
end
local types = { boolean = 1, number = 3, string = 4, table = 5, ["function"] = 6, userdata = 7, thread = 8 }
local lengths = {}
for i, n in ipairs(integers) do lengths[i] = setmetatable({}, { __len = function() return n end }) end
local operators = {
	"+", "-", "*", "%", "^", "/", "//", "&", "|", "~", "<<", ">>", "..", "==", "<", "<=", "~=", ">", ">=", "and", "or",
}
local out = io.tmpfile()
local function add(x) return x + 1 end

local function go()
	for _, s in ipairs(texts) do
		for _, mode in ipairs { "t", "bt" } do
			local f = load(s, s, mode)
			know("lauxlib:luaL_loadbufferx__entry", "L", main, "buff", s, "size", s:len(), "name", s, "mode", mode)
			know("lauxlib:luaL_loadbufferx__return", "result", f and 0 or 3)
		end
	end
	for i, level in ipairs { 0, 1, 2, -5, 100000, 2147483000, 7 } do
		debug.traceback(texts[i], level)
		know("lauxlib:luaL_traceback__entry", "L", main, "L1", main, "msg", texts[i], "level", level)
		debug.traceback(sleeping, nil, level)
		know("lauxlib:luaL_traceback__entry", "L", main, "L1", other, "msg", null, "level", level)
	end
	for _, m in ipairs(floats) do
		for _, n in ipairs(floats) do
			local r = m % n
			know("lvm:luaV_modf__entry", "L", main, "m", m, "n", n)
			know("lvm:luaV_modf__return", "result", r)
		end
		local r = math.sqrt(m)
		know("lapi:lua_pushnumber__entry", "n", r)
		r = math.tointeger(m)
		know("lvm:luaV_flttointeger__entry", "n", m, "mode", 0)
		know("lvm:luaV_flttointeger__return", "result", r and 1 or 0)
	end
	for _, m in ipairs(integers) do
		for _, n in ipairs(integers) do
			if n ~= 0 then
				local q, r = m // n, m % n
				know("lvm:luaV_idiv__entry", "m", m, "n", n)
				know("lvm:luaV_idiv__return", "result", q)
				know("lvm:luaV_mod__entry", "m", m, "n", n)
				know("lvm:luaV_mod__return", "result", r)
			end
		end
		for _, n in ipairs(shifts) do
			local s = m << n
			know("lvm:luaV_shiftl__entry", "x", m, "y", n)
			know("lvm:luaV_shiftl__return", "result", s)
		end
		local packed = string.pack("<i8", m)
		know("lstrlib:packint__entry", "n", { unsigned = m }, "islittle", 1, "size", 8, "neg", m < 0 and 1 or 0)
		local r = string.unpack(">i8", packed:reverse())
		know("lstrlib:unpackint__entry", "islittle", 0, "size", 8, "issigned", 1)
		know("lstrlib:unpackint__return", "result", m)
		r = string.unpack("<I3", packed)
		know("lstrlib:unpackint__entry", "islittle", 1, "size", 3, "issigned", 0)
		know("lstrlib:unpackint__return", "result", m & 0xffffff)
	end
	for _, n in ipairs(lengths) do
		table.concat(n, "", 1, 0)
		know("lauxlib:luaL_len__return", "result", #n)
	end
	for _, s in ipairs(numerals) do
		local n = tonumber(s)
		know("lobject:luaO_str2num__entry", "s", s)
		know("lobject:luaO_str2num__return", "result", n and s:len() + 1 or 0)
	end
	for _, c in ipairs { 0, 65, 0x20ac, 0x10ffff, 0x7fffffff } do
		local s = utf8.char(c)
		know("lobject:luaO_utf8esc__entry", "x", c)
		know("lobject:luaO_utf8esc__return", "result", s:len())
	end
	for i = 0, 9 do
		local n = #lists[i]
		know("ltable:luaH_getn__entry", "t", addresses[i])
		know("ltable:luaH_getn__return", "result", n)
	end
	for _, v in ipairs { true, 1, "s", lists, go, out, sleeping } do
		local s = type(v)
		know("lapi:lua_typename__entry", "t", types[s])
		know("lapi:lua_typename__return", "result", s)
	end
	for i, what in ipairs { "set", "cur", "end" } do
		out:seek(what, 0)
		know("lauxlib:luaL_checkoption__entry", "arg", 2, "def", "cur")
		know("lauxlib:luaL_checkoption__return", "result", i - 1)
	end
	out:setvbuf("full")
	know("lauxlib:luaL_checkoption__entry", "arg", 2, "def", null)
	know("lauxlib:luaL_checkoption__return", "result", 1)
	know("lauxlib:luaL_fileresult__entry", "stat", 1, "fname", null)
	know("lauxlib:luaL_fileresult__return", "result", 1)
	pcall(out.seek, out, "nowhere")
	know("lauxlib:luaL_checkoption__entry", "arg", 2, "def", "cur")
	for i, name in ipairs { "/no/such/file", "/no/such/häß", "" } do
		io.open(name)
		know("lauxlib:luaL_fileresult__entry", "stat", 0, "fname", name)
		know("lauxlib:luaL_fileresult__return", "result", 3)
	end
	for i, o in ipairs(operators) do
		local text = "return a " .. o .. " b"
		load(text)
		know("lauxlib:luaL_loadbufferx__entry", "buff", text, "name", text, "mode", "bt")
		know("lauxlib:luaL_loadbufferx__return", "result", 0)
		know("lcode:luaK_infix__entry", "op", i - 1)
	end
	pcall(add, lists)
	know("ldebug:luaG_typeerror__entry", "op", "perform arithmetic on")
end

collectgarbage("stop")
io.read()
go()
io.read()

local function value(v)
	if v == null then return "null" end
	if math.type(v) == "integer" then return "i:" .. v end
	if math.type(v) == "float" then return "f:" .. (v ~= v and "nan" or string.format("%a", v)) end
	if type(v) == "string" then return "s:" .. v:gsub(".", function(c) return ("%02x"):format(c:byte()) end) end
	return "i:" .. (v.pointer or string.format("0x%x", v.unsigned))
end
for i = 1, count do
	local line = { known[i][1] }
	for j = 2, known[i].n, 2 do line[#line + 1] = known[i][j] .. "=" .. value(known[i][j + 1]) end
	print(table.concat(line, "\t"))
end
