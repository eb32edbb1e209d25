#include <rsca/status.h>

/* Successes, then what rsca itself answers, then what actions may want to answer. */
static const rsca_status_entry table[] = {
    {"S_OK", S_OK, "it worked; of a call: it is queued; of a response: more may follow"},
    {"S_FALSE", S_FALSE,
     "the registration ended without a failure; of a step: there was nothing to do; of a shutdown: it is still going "
     "on"},

    {"E_FAIL", E_FAIL, "the action raised an error, or failed without saying more"},
    {"E_INVALIDARG", E_INVALIDARG, "an argument is missing, empty or not allowed"},
    {"E_OUTOFMEMORY", E_OUTOFMEMORY, "memory ran out, or the memory or response limit was reached"},
    {"E_PENDING", E_PENDING, "the action has not ended yet; its end will be reported later"},
    {"RPC_E_DISCONNECTED", RPC_E_DISCONNECTED, "what the action runs in, such as its Lua state, has been closed"},
    {"ERROR_BUSY", RSCA_E_BUSY, "the queue is full; the call was refused and may be tried again later"},
    {"ERROR_ALREADY_EXISTS", RSCA_E_ALREADY_EXISTS, "the name is taken: this session already has such a registration"},
    {"ERROR_NO_UNICODE_TRANSLATION", RSCA_E_NO_UNICODE_TRANSLATION,
     "the name or the arguments are not well-formed Unicode text"},
    {"ERROR_SHUTDOWN_IN_PROGRESS", RSCA_E_SHUTDOWN_IN_PROGRESS,
     "the manager has shut down or is shutting down and accepts no more calls"},
    {"ERROR_NOT_FOUND", RSCA_E_NOT_FOUND, "there is no such action, call, registration or interface"},
    {"ERROR_INVALID_DATA", RSCA_E_INVALID_DATA, "data was given, or found, that makes no sense"},
    {"ERROR_CANCELLED", RSCA_E_CANCELLED, "the call or registration was cancelled, or cut by a shutdown"},
    {"ERROR_TIMEOUT", RSCA_E_TIMEOUT, "the call reached its time limit and was stopped"},
    {"WAIT_TIMEOUT", RSCA_WAIT_TIMEOUT, "the wait reached its own limit; what it waited for goes on"},
    {"ERROR_POSSIBLE_DEADLOCK", RSCA_E_POSSIBLE_DEADLOCK,
     "it was refused because it would wait for itself: a step is already on"},

    {"E_NOTIMPL", (HRESULT)0x80004001, "the action does not implement what was asked for"},
    {"E_ABORT", (HRESULT)0x80004004, "the action gave up before it was done"},
    {"E_UNEXPECTED", (HRESULT)0x8000FFFF, "the action met something that should never happen"},
    {"E_ACCESSDENIED", (HRESULT)0x80070005, "the caller may not do that"},
    {"ERROR_FILE_NOT_FOUND", (HRESULT)0x80070002, "a file that the action needs is not there"},
    {"ERROR_NOT_SUPPORTED", (HRESULT)0x80070032, "what was asked for is not supported here"},
    {"ERROR_INVALID_STATE", RSCA_E_INVALID_STATE, "what was asked for does not fit the present state"},
};

#define COUNT (sizeof table / sizeof table[0])

const rsca_status_entry *rsca_status_find(HRESULT status) {
  for (size_t i = 0; i < COUNT; i++) {
    if (table[i].status == status)
      return &table[i];
  }
  return NULL;
}

const rsca_status_entry *rsca_status_table(size_t *count) {
  *count = COUNT;
  return table;
}
