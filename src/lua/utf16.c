#include "utf16.h"

#include "core/text.h"

PCWSTR rscl_push_utf16(lua_State *L, rscl_text text) {
  size_t units = rsci_utf8_to_utf16_size(text.data, text.size);
  WCHAR *buffer = lua_newuserdatauv(L, (units + 1) * sizeof *buffer, 0);
  rsci_utf8_to_utf16(text.data, text.size, buffer);
  buffer[units] = 0;
  return buffer;
}
