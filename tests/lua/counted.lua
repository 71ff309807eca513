-- SPDX-License-Identifier: MIT
-- Waits for a line, works, waits for a line, and so on: what happens between two lines is counted. No table is keyed by
-- an address. Its argument: how much.
local size = tonumber(arg[1]) or 300
local function work(round)
	local words, out = {}, {}
	for i = 1, size * round do
		words[i] = string.format("%s-%03d %5.2f", i % 3 == 0 and "three" or "other", i, i / 7)
		table.insert(out, tostring(i) .. tostring(i * 0.5))
	end
	table.sort(words)
	local text = table.concat(words, "\n")
	local upper = text:gsub("three%-(%d+)", function(n) return n + 1 end):upper()
	for word in upper:gmatch("OTHER%S*") do out[#out + 1] = word:rep(2, "/") end
	local sum = 0
	for i = 1, size * 2 // 3 do sum = sum + math.floor(i * 1.5) % 7 + math.max(i, 100) + (tonumber("0x" .. i, 16) or i) end
	local each = coroutine.wrap(function() for i = 1, size // 6 do coroutine.yield(i) end end)
	for _ = 1, size // 6 do sum = sum + each() end
	local f = load("local a, b = ... ; return a * b // 3 .. '!'")
	for i = 1, size * 2 // 15 do out[#out + 1] = f(i, round) end
	local point = setmetatable({}, { __index = function(_, k) return #k end, __add = function(a, b) return 7 end })
	for i = 1, size // 5 do sum = sum + (point + point) + point.some end
	local ok = 0
	for i = 1, size // 10 do if not pcall(error, "counted") then ok = ok + 1 end end
	local packed = {}
	for i = 1, size // 12 do packed[i] = string.pack("<i4s2", i, "x") sum = sum + string.unpack("<i4", packed[i]) end
	return #text + #table.concat(out) + ok, sum
end
local round = 0
while true do
	local line = io.read()
	if line ~= "go" then break end
	round = round + 1
	print(round, work(round))
	io.stdout:flush()
end
