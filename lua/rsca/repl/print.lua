-- Values as text for people: strings quoted, tables laid out within a width, cycles and what is too much left out.

local _ENV = require "rsca.repl.globals"

local M = {}

local STYLES = {
  string = "\27[32m", number = "\27[33m", boolean = "\27[33m", ["nil"] = "\27[33m", other = "\27[36m",
  error = "\27[31m", dim = "\27[2m", strong = "\27[1m",
}
local RESET = "\27[0m"

-- What has a style is text, not what is painted, so that colours don't count as width.
local function paint(text, style, colour)
  return colour and STYLES[style] and STYLES[style] .. text .. RESET or text
end
M.paint = paint

-- ---- Text ----

-- Characters that take two columns: East Asian wide ones and pictographs, in rough ranges.
local WIDE = {
  { 0x1100, 0x115F }, { 0x2E80, 0x303E }, { 0x3041, 0xA4CF }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF },
  { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1F64F }, { 0x1F900, 0x1F9FF },
  { 0x20000, 0x3FFFD },
}

-- How many columns a text takes.
function M.width(text)
  if not text:find("[\x80-\xFF]") or not utf8.len(text) then
    return #text
  end
  local columns = 0
  for _, code in utf8.codes(text) do
    local wide = false
    for _, range in ipairs(WIDE) do
      wide = wide or code >= range[1] and code <= range[2]
    end
    local combining = code >= 0x300 and code <= 0x36F or code == 0x200D or code >= 0xFE00 and code <= 0xFE0F
    columns = columns + (combining and 0 or wide and 2 or 1)
  end
  return columns
end

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\27"] = "\\27", ["\\"] = "\\\\" }

local function escape_byte(byte)
  return NAMED[byte] or ("\\x%02X"):format(byte:byte())
end

-- Without anything that would control a terminal, or that is not UTF-8. `keep`: a set of characters, for a pattern,
-- that stay as they are.
local function escape(text, keep)
  local at, parts = 1, {}
  while at <= #text do
    local good, bad = utf8.len(text, at)
    local last = good and #text or bad - 1
    local part = text:sub(at, last):gsub("[%c\\]", function(byte)
      return not byte:find(keep) and escape_byte(byte) or nil
    end)
    parts[#parts + 1] = part:gsub("\xC2[\x80-\x9F]", "?")
    if not good then
      parts[#parts + 1] = escape_byte(text:sub(bad, bad))
    end
    at = good and #text + 1 or bad + 1
  end
  return table.concat(parts)
end

-- Text from elsewhere, as lines: nothing in it controls the terminal.
function M.plain(text)
  return escape(text, "[\n\t\\]")
end

-- Cut after so many bytes, but not inside of a character; what is left out is counted.
local function cut(text, most)
  if #text <= most then
    return text, ""
  end
  local last = most
  while last > 0 and text:byte(last + 1) and text:byte(last + 1) & 0xC0 == 0x80 do
    last = last - 1
  end
  return text:sub(1, last), (" ... (%d bytes)"):format(#text)
end
M.cut = cut

-- `lines`: newlines and tabs stay.
local function quote(text, most, lines)
  local kept, rest = cut(text, most)
  return '"' .. escape(kept, lines and "[\n\t]" or "[^%c\\]"):gsub('"', '\\"') .. '"' .. rest
end

-- ---- Values that are no tables ----

local function source_of(f)
  local info = debug and debug.getinfo and debug.getinfo(f, "S")
  if not info then
    return tostring(f)
  elseif info.what == "C" then
    return "function: C"
  end
  return ("function: %s:%d"):format(info.short_src, info.linedefined)
end

-- tostring, which may be the script's own: whatever it does it gives a text.
local function text_of(value)
  local good, text = pcall(tostring, value)
  if not good then
    return ("%s, whose __tostring raises"):format(type(value))
  end
  return M.plain((cut(text, 2000)))
end

local function scalar(value, most, lines)
  local kind = type(value)
  if kind == "string" then
    return quote(value, most, lines), "string"
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value), kind
  elseif kind == "function" then
    return source_of(value), "other"
  end
  return text_of(value), "other"
end

-- ---- Tables ----

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

local function key_text(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") and not KEYWORDS[key] then
    return key
  end
  local text = type(key) == "table" and "table" or scalar(key, 60)
  return "[" .. text .. "]"
end

-- Numbers before strings before all others.
local RANKS = { number = 1, string = 2 }

local function before(a, b)
  local rank_a, rank_b = RANKS[type(a)] or 3, RANKS[type(b)] or 3
  if rank_a ~= rank_b then
    return rank_a < rank_b
  elseif rank_a < 3 then
    return a < b
  end
  return key_text(a) < key_text(b)
end

-- How many values stand at 1, 2, 3, ...; and the other keys in order.
local function parts_of(value)
  local length, others = 0, {}
  while rawget(value, length + 1) ~= nil do
    length = length + 1
  end
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then
      others[#others + 1] = key
    end
  end
  table.sort(others, before)
  return length, others
end

local render

-- The entries of a table, each { text, width, lines }: as many as may be shown.
local function entries_of(value, state, depth)
  local entries = {}
  local length, others = parts_of(value)
  local shown = 0
  local function add(prefix, key)
    if shown >= state.items or state.budget <= 0 then
      return false
    end
    shown = shown + 1
    state.budget = state.budget - 1
    local entry = render(rawget(value, key), state, depth + 1, M.width(prefix))
    entry.text, entry.width = prefix .. entry.text, M.width(prefix) + entry.width
    entry.packed = prefix == "" and type(rawget(value, key)) ~= "table"
    entries[#entries + 1] = entry
    return true
  end
  for i = 1, length do
    if not add("", i) then
      break
    end
  end
  for _, key in ipairs(others) do
    if not add(key_text(key) .. " = ", key) then
      break
    end
  end
  local left = length + #others - shown
  if left > 0 then
    local text = ("... %d more"):format(left)
    entries[#entries + 1] = { text = paint(text, "dim", state.colour), width = #text }
  end
  return entries
end

local function name_of(value)
  local metatable = debug and debug.getmetatable and debug.getmetatable(value)
  local name = type(metatable) == "table" and rawget(metatable, "__name")
  return type(name) == "string" and M.plain(name) .. " " or ""
end

local function has_text(value)
  local metatable = debug and debug.getmetatable and debug.getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__tostring") ~= nil
end

-- Values without a key share lines; everything else has one of its own.
local function in_lines(entries, name, depth, width)
  local indent = ("  "):rep(depth + 1)
  local lines, room = { name .. "{" }, 0
  for i, entry in ipairs(entries) do
    local text = entry.text .. (i < #entries and "," or "")
    if entry.packed and entry.width + 2 <= room then
      lines[#lines] = lines[#lines] .. " " .. text
      room = room - entry.width - 2
    else
      lines[#lines + 1] = indent .. text
      room = entry.packed and width - #indent - entry.width - 1 or 0
    end
  end
  lines[#lines + 1] = ("  "):rep(depth) .. "}"
  return { text = table.concat(lines, "\n"), width = 0, lines = true }
end

-- { text, width, lines }: `lines` where it is more than one. `used`: columns that are taken before it.
local function render_table(value, state, depth, used)
  if state.path[value] then
    return { text = "<cycle>", width = 7 }
  elseif next(value) == nil then
    local text = name_of(value) .. "{}"
    return { text = text, width = M.width(text) }
  elseif depth >= state.depth then
    local text = name_of(value) .. "{...}"
    return { text = text, width = M.width(text) }
  end
  state.path[value] = true
  local entries = entries_of(value, state, depth)
  state.path[value] = nil
  local name = name_of(value)
  local texts, width, lines = {}, M.width(name) + 2, false
  for i, entry in ipairs(entries) do
    texts[i] = entry.text
    width = width + entry.width + (i > 1 and 2 or 0)
    lines = lines or entry.lines
  end
  if lines or depth * 2 + used + width > state.width then
    return in_lines(entries, name, depth, state.width)
  end
  return { text = name .. "{" .. table.concat(texts, ", ") .. "}", width = width }
end

function render(value, state, depth, used)
  if type(value) == "table" and not has_text(value) then
    return render_table(value, state, depth, used)
  end
  local text, style = scalar(value, depth == 0 and state.bytes or 200, depth == 0)
  return { text = paint(text, style, state.colour), width = M.width(text), lines = text:find("\n") ~= nil }
end

-- A value as text. Options: `width` in columns [80], `depth` of tables in tables [4], `items` of each [50], `bytes` of
-- a string [20000], `colour`.
function M.value(value, options)
  options = options or {}
  local state = {
    width = options.width or 80, depth = options.depth or 4, items = options.items or 50,
    bytes = options.bytes or 20000, colour = options.colour, budget = 2000, path = {},
  }
  return render(value, state, 0, 0).text
end

return M
