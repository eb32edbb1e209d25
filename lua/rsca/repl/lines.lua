-- The terminal of a prompt where there is no line editor: whole lines, as the system hands them over.
--
-- A terminal is a table of functions:
--   open(options)   options.history: a file, or nil; options.complete(line): candidates, see rsca.repl.complete
--   prompt(text)    begins a line
--   read()          there is input: a line, without its end; false: that was all; nothing: none is complete yet
--   hide(), show()  takes the prompt and what was typed off the screen, and puts them back
--   discard()       gives up the line, and ends it on the screen; whether there was something in it
--   resize()        the terminal has another size
--   remember(text)  for the history
--   close()

local _ENV = require "rsca.repl.globals"

local M = {}

-- `shown`: it is a terminal that is read from; otherwise nothing is written.
function M.new(console, shown)
  local text, typed = "", ""
  local function write(bytes)
    if shown then
      console.put(bytes)
    end
  end
  local erase = os.getenv("TERM") == "dumb" and "\n" or "\r\27[K"
  local terminal = {}

  function terminal.open() end

  function terminal.prompt(new_text)
    text, typed = new_text, ""
    write(text)
  end

  function terminal.read()
    local bytes = console.read()
    if bytes == false then
      if typed == "" then
        return false
      end
      bytes = "\n" -- the last line has no end
    end
    typed = typed .. bytes
    local line = typed:match("^(.-)\r?\n$")
    if line then
      typed = ""
      return line
    end
  end

  function terminal.hide()
    write(erase)
  end

  function terminal.show()
    write(text)
  end

  function terminal.discard()
    typed = ""
    write("\n")
    return false
  end

  function terminal.resize() end
  function terminal.remember() end
  function terminal.close() end
  return terminal
end

return M
