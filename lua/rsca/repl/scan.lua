-- Lua text, looked at without running it: which names it has, which locals its outermost block declares, and where that
-- block returns.

local _ENV = require "rsca.repl.globals"

local M = {}

-- Words that open a block, and those that close one. What stands between, such as `then`, changes nothing.
local OPENS = { ["do"] = true, ["function"] = true, ["if"] = true, ["repeat"] = true }
local CLOSES = { ["end"] = true, ["until"] = true }

-- The place after a long bracket that begins at `at`; nil: none begins there. One without an end takes all the rest;
-- then true comes with it.
local function after_long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if level then
    local _, last = text:find("]" .. level .. "]", at, true)
    return (last or #text) + 1, not last
  end
end

-- The same for quotes.
local function after_quoted(text, at)
  local quote = text:sub(at, at)
  at = at + 1
  while at <= #text do
    local char = text:sub(at, at)
    if char == "\\" then
      at = at + 2
    elseif char == quote then
      return at + 1
    else
      at = at + 1
    end
  end
  return #text + 1, true
end

-- Calls visit(kind, token, place) for each token: "name", "string", "number" or "sign". Comments are none. Where the
-- text ends inside of a string that is "open".
function M.tokens(text, visit)
  local at = 1
  while true do
    at = text:find("%S", at)
    if not at then
      return
    end
    local after, kind, open
    local char = text:sub(at, at)
    if text:find("^%-%-", at) then
      after = after_long_bracket(text, at + 2) or text:find("\n", at, true) or #text + 1
    elseif char == '"' or char == "'" then
      kind = "string"
      after, open = after_quoted(text, at)
    elseif char == "[" and after_long_bracket(text, at) then
      kind = "string"
      after, open = after_long_bracket(text, at)
    elseif char:find("[%a_]") then
      kind, after = "name", select(2, text:find("^[%w_]+", at)) + 1
    elseif text:find("^%.?%d", at) then
      kind, after = "number", select(2, text:find("^[%w_.]+", at)) + 1
    else
      kind, after = "sign", at + 1
    end
    if kind then
      visit(open and "open" or kind, text:sub(at, after - 1), at)
    end
    at = after
  end
end

-- All names in it, as a set; keywords and fields are among them.
function M.names(text)
  local names = {}
  M.tokens(text, function(kind, token)
    if kind == "name" then
      names[token] = true
    end
  end)
  return names
end

-- The locals that the outermost block declares, but for those that are closed at its end; and the place of the `return`
-- that ends it, or nil.
function M.top_level(text)
  local locals, depth, returns = {}, 0, nil
  local state, pending = "", nil -- "local", "names", "attribute": inside a declaration
  local function keep()
    if pending then
      locals[#locals + 1] = pending
      pending = nil
    end
  end
  M.tokens(text, function(kind, token, place)
    if state == "local" and token == "function" then
      state, depth = "function", depth + 1
      return
    elseif state == "function" then
      locals[#locals + 1] = token
      state = ""
      return
    elseif state == "local" and kind == "name" then
      keep()
      pending, state = token, "names"
      return
    elseif state == "names" and (token == "," or token == "<") then
      state = token == "," and "local" or "attribute"
      return
    elseif state == "attribute" then
      if token == "close" then
        pending = nil
      elseif token == ">" then
        state = "names"
      end
      return
    end
    keep()
    state = ""
    if kind ~= "name" then
      return
    elseif OPENS[token] then
      depth = depth + 1
    elseif CLOSES[token] then
      depth = depth - 1
    elseif depth == 0 and token == "local" then
      state = "local"
    elseif depth == 0 and token == "return" then
      returns = returns or place
    end
  end)
  keep()
  return locals, returns
end

return M
