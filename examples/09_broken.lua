-- Cannot be loaded: 09_embed_lua.c shows what a host gets to hear then.

local rsca = require "rsca"

rsca.register("never", function()
  return "the next line lacks its closing quote
end)
