-- A handler of a registration that writes down what it hears, and checks that this is in order.
--   responses   what came, oldest first; text(): the same in one
--   final, why  the status and the bytes of the final
--   on          may be set: a function that is given each response, whether it is final, and answers it

return function()
  local self = { responses = {} }
  function self.handler(code, response, final)
    assert(not self.final, "something after the final")
    assert(not self.inside, "two at a time")
    assert(math.type(code) == "integer" and type(response) == "string" and type(final) == "boolean")
    assert(final == (code ~= 0), "a final has another status than S_OK")
    if final then
      self.final, self.why = code, response
    else
      self.responses[#self.responses + 1] = response
    end
    if self.on then
      self.inside = true
      local _ <close> = setmetatable({}, { __close = function() self.inside = false end })
      return self.on(response, final)
    end
  end
  function self.text()
    return table.concat(self.responses, ";")
  end
  function self.has_ended()
    return self.final
  end
  return self
end
