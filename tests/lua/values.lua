-- SPDX-License-Identifier: MIT
-- Strings, numbers, tables, metatables, garbage.
print(math.maxinteger + 1 == math.mininteger, 7 // 2, -7 // 2, 7 % -3, -7 % 3, 7.5 // 2, -7.5 % 2, 1e308 * 10)
print(1 / 0, -1 / 0, 0 / 0 ~= 0 / 0, 3 | 4, 6 & 3, 5 ~ 1, ~0, 1 << 63, 1 << 64, -1 >> 60, 2 ^ 0.5, 10 // 0.0)
print(pcall(function() return 1 // 0 end))
print(pcall(function() return 1 % 0 end))
print("10" + 5, "0x10" * 2, 10 .. 20, "1e1" + 0, tostring(1e15), 1e100, 0.1, 1 / 3, 100000000000000, -0.0)
print(tonumber("z", 36), tonumber("7fffffffffffffff", 16), tonumber("  12  "), tonumber("1e"), tonumber("0x1p4"),
	tonumber(""), tonumber("1 2"))
print(math.tointeger(3.0), math.tointeger(3.5), math.type(1), math.type(1.0), math.type("1"), math.ult(1, -1))
print(math.floor(-3.5), math.ceil(-3.5), math.fmod(-7, 3), math.fmod(7, -3.5), math.modf(-3.25))
print(math.max(1, 5.5, -2), math.min(3, -1.5), math.abs(math.mininteger), math.sqrt(16), math.pi)
for _, v in ipairs { 0, 1, -1, 255, 65536, math.maxinteger, math.mininteger } do
	print(string.format("%d %x %o %5d|%-8d|%+d|%08d %c", v, v, v, v, v, v, v, 65 + v % 26))
end
for _, v in ipairs { 0.0, 1.5, -2.25, 1e-10, 123456789.123, 1e300, math.huge, -math.huge } do
	print(string.format("%g %f %.3e %a %10.2f|%-12.4g|%q", v, v % 1e9 == v and v or 0, v, v, v % 1000, v, v))
end
print(string.format("%q %s %10s|%-10s|%.3s|%%", 'a\n"\0\r\\', true, "right", "left", "truncated"))
print(pcall(string.format, "%d", 1.5))
print(pcall(string.format, "%y", 1))

local s = "The quick brown fox jumps over the lazy dog"
print(s:gsub("%w+", string.upper, 3), s:gsub("(%w)(%w*)", "%2%1"), s:gsub("o", { o = "0" }))
print(s:find("brown"), s:find("%s(%a+)%s", 10), s:match("(%a+) dog$"), s:find(".", 1, true), s:find("", 100))
print(("x=1, y=2"):gsub("(%w+)=(%w+)", function(k, v) return v .. "=" .. k end))
print(("[[a]b]"):match("%b[]"), ("THE (quick) fox"):find("%((%a+)%)"), ("hello"):gsub("", "-"))
print(("a.b"):gsub("%.", "%%"))
print(("%f test THE"):gsub("%f[%a]%a+", "<%0>"), ("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
print(s:byte(1, 5), s:sub(-3), s:sub(5, 3), s:reverse(), s:len(), #s:rep(100, ", "), string.char(72, 105))
print(pcall(string.gsub, "x", "(", ""), pcall(string.gsub, "x", "x", "%9"))
print(pcall(string.find, ("a"):rep(300000), (".-"):rep(6) .. "b$", 299990))
print(utf8.char(72, 228, 8364, 0x10FFFF), utf8.len("häß"), utf8.codepoint("ä", 1), utf8.offset("aäb", 3))
for p, c in utf8.codes("aé€") do io.write(p, ":", c, " ") end print()
print(string.pack("<i4z s1", -2, "zero", "len"):byte(1, -1))
print(string.unpack("<i2 >I3 d", string.pack("<i2 >I3 d", -5, 70000, 2.5)))

local t = {}
local x = 12345
for i = 1, 1000 do x = (x * 1103515245 + 12345) % 2147483648 t[i] = x % 10007 end
table.sort(t)
local sum = 0
for i = 2, #t do assert(t[i - 1] <= t[i]) sum = (sum * 31 + t[i]) % 1000000007 end
print("sorted", #t, t[1], t[#t], sum)
table.sort(t, function(p, q) return p > q end)
print(t[1], t[#t], table.concat(t, ",", 1, 10))
print(pcall(table.sort, { 3, 1, 2, 5, 4 }, function() return true end))
math.randomseed(42)
print(math.random(1, 100), math.random(1, 100), math.random(0), math.random())
table.insert(t, 1, "first") table.insert(t, "last")
print(t[1], t[#t], table.remove(t, 1), table.remove(t), #t, table.move({ 1, 2, 3 }, 1, 3, 2)[3])
print(next({}), rawlen({ 1, 2 }), rawequal(t, t), rawget(t, "x"), #"\0\0", ({ 10, 20, nil })[2])

local V = {}
V.__index = function(_, k) return k == "len" and 2 or V[k] end
V.__add = function(p, q) return setmetatable({ p[1] + q[1], p[2] + q[2] }, V) end
V.__eq = function(p, q) return p[1] == q[1] and p[2] == q[2] end
V.__lt = function(p, q) return p[1] < q[1] end
V.__le = function(p, q) return p[1] <= q[1] end
V.__call = function(self, ...) return select("#", ...), self[1] end
V.__tostring = function(v) return "(" .. v[1] .. "," .. v[2] .. ")" end
V.__concat = function(p, q) return tostring(p) .. "|" .. tostring(q) end
V.__len = function() return 99 end
V.__unm = function(p) return setmetatable({ -p[1], -p[2] }, V) end
V.__idiv, V.__band, V.__shl = function() return "//" end, function() return "&" end, function() return "<<" end
V.__newindex = function(v, k, n) rawset(v, k, n * 2) end
local p, q = setmetatable({ 1, 2 }, V), setmetatable({ 3, 4 }, V)
p.z = 21
print(tostring(p + q), p == q, p < q, p <= q, p(1, nil), p .. q, p .. "s", #p)
print(tostring(-p), p // q, p & 1, 1 << p, p.len, p.z)
local log = {}
local proxy = setmetatable({}, { __pairs = function() return function(_, k) if not k then return 1, "one" end end end })
for k, v in pairs(proxy) do log[#log + 1] = k .. v end
print(table.concat(log))

local weak = setmetatable({}, { __mode = "v" })
local finalized = 0
for i = 1, 5000 do
	local o = setmetatable({ i }, { __gc = function() finalized = finalized + 1 end })
	if i % 100 == 0 then weak[#weak + 1] = { i } end
end
collectgarbage() collectgarbage()
local live = 0
for _ in pairs(weak) do live = live + 1 end
print("garbage", finalized, live)
collectgarbage("generational")
local keep = {}
for i = 1, 5000 do keep[i % 100] = { tostring(i) } end
collectgarbage("incremental")
for i = 1, 5000 do keep[i % 100] = { i .. "" } end
print(#keep, keep[99][1])
local parts = {}
for i = 1, 300 do
	parts[i] = "f" .. i .. " = function(a, ...) local b <const> = a or " .. i .. " return b * 2, ... end"
end
local m = load("return {" .. table.concat(parts, ",\n") .. "}")()
print(m.f1(nil, "v"), m.f300(4), string.dump(m.f7, true):sub(1, 4) == "\27Lua", load(string.dump(m.f7))(3))
local out = io.tmpfile()
out:write("line 1\n", 2, " ", 3.5, "\n", "0x1F 1e2 nan\n", "rest")
out:seek("set", 0)
print(out:read("l", "n", "n", "L", "n", "n"))
print(out:seek("cur") > 0, out:read("a"), out:read("l"), out:close())
print(io.open("/none/such", "r"))
print(os.time({ year = 2020, month = 1, day = 1, hour = 12 }), os.date("!%Y-%m-%d", 86400), os.getenv("NO_SUCH_THING"))
print("done")
