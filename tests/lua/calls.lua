-- SPDX-License-Identifier: MIT
-- Calls of every kind: closures, tail calls, deep recursion, varargs, errors that unwind C frames, coroutines.
local function counter()
	local n = 0
	return function(by) n = n + (by or 1) return n end
end
local a, b = counter(), counter()
a() a(5) b(-3)
print("closures", a(), b())

local function sum(n, acc) if n == 0 then return acc end return sum(n - 1, acc + n) end
print("tail calls", sum(2000000, 0))
local function even(n) if n == 0 then return true end return (function(m) return not even(m) end)(n - 1) end
print("closures in closures", even(5000))
local function depth(n) if n == 0 then return 0 end return 1 + depth(n - 1) end
print("recursion", depth(190000))
local function endless(n) return 1 + endless(n + 1) end
local ok, err = pcall(endless, 0)
print("overflow", ok, (tostring(err):gsub("\n.*", "")))
local function through_c(n)
	if n == 0 then error({ code = 42 }) end
	table.sort({ 1, 2 }, function() through_c(n - 1) return false end)
end
for _, n in ipairs { 0, 1, 10, 150 } do
	local ok, err = pcall(through_c, n)
	print("unwinding", n, ok, type(err) == "table" and err.code or err)
end
local ok, err = pcall(through_c, 300)
print("C stack", ok, (tostring(err):gsub("^.-:%d+: ", "")))

local function pack2(...) return select("#", ...), { ... } end
local n, t = pack2(nil, 2, nil)
print("varargs", n, t[1], t[2], t[3], (select(-1, "x", "y")))
print("unpack", table.unpack({ 1, 2, 3, nil, 5 }, 1, 5))
print("many", select("#", table.unpack({}, 1, 250)))

local gen = coroutine.wrap(function(first)
	local got = first
	for i = 1, 5 do got = coroutine.yield(i * got) end
	return "end"
end)
print("coroutines", gen(2), gen(3), gen(4), gen(5), gen(6), gen(7))
local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() print("closed") end })
	coroutine.yield(1) error("inside") end)
print(coroutine.resume(co))
print(coroutine.resume(co))
print(coroutine.status(co), coroutine.close(co))
local inner = coroutine.wrap(function()
	print(pcall(function() coroutine.yield("across pcall") error("later", 0) end))
	for k in string.gmatch("a b c", "%a") do coroutine.yield(k) end
end)
print(inner(), inner(), inner(), inner())
local function nest(n) if n == 0 then return "bottom" end return coroutine.wrap(nest)(n - 1) end
print("nested", nest(150), select(2, pcall(nest, 250)):sub(-16))

print("handlers", xpcall(function() error("oops", 2) end, function(m) return "<" .. m .. ">" end))
print(xpcall(function() local x = nil; return x.y end, function(m) return (m:gsub("^.-:", "")) end))
print(select(2, pcall(error)))
print(pcall(string.rep, "x", -1), pcall(string.rep))
print(pcall(setmetatable, 1, {}))
print(load("return ...", "=chunk")(7), load("syntax error here", "=chunk"))
local traced = debug.traceback("trace", 1):gsub("\n%s*%[C%].*", "")
print(#traced > 5)

do
	local i = 1
	::again::
	if i <= 3 then io.write("goto ", i, "\n") i = i + 1 goto again end
	for i = 1, 3 do for j = 1, 3 do if j == 2 then goto continue end io.write(i, j, " ") ::continue:: end end
	print()
end
print("done")
