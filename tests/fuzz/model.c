#include "model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory.h"

enum { MOST_LIVES = 512 };

static struct {
  uint64_t seed;
  unsigned number;
  bool memory_fails;
  call *calls;
  unsigned capacity;
  atomic_uint count;
  life lives[MOST_LIVES];
  atomic_uint life_count;
  atomic_uint open;
  atomic_uint users;
} round_;

static _Thread_local unsigned asking; /* the number of the call that this thread is asking for */

uint64_t model_now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- What has happened ---- */

static const char *const deed_names[] = {
    [ASKED] = "asked",
    [ACCEPTED] = "accepted",
    [REFUSED] = "refused",
    [STARTED] = "started",
    [REPORTED] = "reported",
    [LEFT_PENDING] = "left pending",
    [FINISHED] = "finished",
    [TOLD_RESPONSE] = "told a response",
    [TOLD_END] = "told the end",
    [CANCEL_ASKED] = "cancel asked",
    [CANCEL_ANSWERED] = "cancel answered",
    [UNREGISTER_ASKED] = "unregister asked",
    [UNREGISTER_ANSWERED] = "unregister answered",
    [RESPONSE_REFUSED] = "its callback failed",
    [REFERENCE_TAKEN] = "reference taken",
    [REFERENCE_GIVEN] = "reference given back",
    [SHUTDOWN_ASKED] = "shutdown asked",
    [SHUTDOWN_ANSWERED] = "shutdown answered",
    [PUBLISHED] = "published",
    [TAKEN_AWAY] = "taken away",
    [STATE_CLOSING] = "state is closed",
    [STATE_CLOSED] = "state was closed",
    [LAST_OF_HOST] = "given back by its host",
};

static unsigned this_thread(void) {
  static atomic_uint count;
  static _Thread_local unsigned number;
  if (number == 0)
    number = atomic_fetch_add(&count, 1) + 1;
  return number;
}

void history_add(history *self, deed what, HRESULT value) {
  unsigned place = atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed) % HISTORY_SIZE;
  uint64_t packed = (uint64_t)what << 56 | (uint64_t)(this_thread() & 0xFFFFFF) << 32 | (uint32_t)value;
  atomic_store_explicit(&self->when_ns[place], model_now_ns(), memory_order_relaxed);
  atomic_store_explicit(&self->what[place], packed, memory_order_relaxed);
}

static void print_history(history *self, uint64_t since_ns) {
  unsigned count = atomic_load(&self->count);
  if (count > HISTORY_SIZE)
    (void)fprintf(stderr, "    (%u before)\n", count - HISTORY_SIZE);
  for (unsigned i = count > HISTORY_SIZE ? count - HISTORY_SIZE : 0; i < count; i++) {
    uint64_t packed = atomic_load(&self->what[i % HISTORY_SIZE]);
    (void)fprintf(stderr, "    %+12.3f ms  thread %-6u  %s 0x%08" PRIX32 "\n",
                  (double)(int64_t)(atomic_load(&self->when_ns[i % HISTORY_SIZE]) - since_ns) / 1e6,
                  (unsigned)(packed >> 32) & 0xFFFFFF, deed_names[packed >> 56], (uint32_t)packed);
  }
}

/* ---- Actions ---- */

#define NO_END E_PENDING

static const struct {
  const char *name;
  bool native, lua, echoes;
  HRESULT status; /* what it ends with when nobody interferes */
  bool limited;   /* in Lua: by OWN_LIMIT_MS */
} behaviours[] = {
    [ECHO] = {"echo", true, true, true, S_OK, false},
    [CHOSEN] = {"chosen", true, true, true, CHOSEN_STATUS, false},
    [FAIL] = {"fail", true, true, false, FAIL_STATUS, false},
    [SILENT] = {"silent", true, true, false, S_OK, false},
    [COUNT] = {"count", true, true, false, S_OK, false},
    [LATE] = {"late", true, false, false, S_OK, false},
    [NEVER] = {"never", true, false, true, S_OK, false},
    [GATE] = {"gate", true, true, true, S_OK, false},
    [POLL] = {"poll", true, true, false, S_OK, false},
    [RAISE] = {"raise", false, true, false, E_FAIL, false},
    [BAD] = {"bad", false, true, false, E_FAIL, false},
    [SLEEP] = {"sleep", false, true, true, S_OK, false},
    [YIELD] = {"yield", false, true, true, S_OK, false},
    [DOZE] = {"doze", false, true, false, NO_END, false},
    [CLOSE] = {"close", false, true, false, NO_END, false},
    [SHORT] = {"short", false, true, true, S_OK, true},
    [LOOP] = {"loop", false, true, false, NO_END, true},
    [STUBBORN] = {"stubborn", false, true, false, NO_END, true},
    [EAT] = {"eat", false, true, false, E_OUTOFMEMORY, true},
    [AWAIT] = {"await", false, true, true, S_OK, false},
    [STREAM] = {"stream", false, true, true, S_OK, false},
};

bool behaviour_is_native(behaviour what) {
  return behaviours[what].native;
}

bool behaviour_is_lua(behaviour what) {
  return behaviours[what].lua;
}

const char *behaviour_name(behaviour what) {
  return behaviours[what].name;
}

/* ---- Managers ---- */

life *life_new(void) {
  unsigned number = atomic_fetch_add(&round_.life_count, 1);
  if (number >= MOST_LIVES)
    model_broken(NULL, "more managers than there is room for");
  life *self = &round_.lives[number];
  memset(self, 0, sizeof *self);
  self->number = number;
  return self;
}

bool life_is_pool(const life *self) {
  return self->kind == POOL || self->kind == POOL_LUA;
}

bool life_has_lua(const life *self) {
  return self->kind == STEPPED_LUA || self->kind == POOL_LUA;
}

void life_allow(life *self, unsigned may) {
  (void)atomic_fetch_or(&self->may, may);
}

bool life_allows(const life *self, unsigned may) {
  return (atomic_load(&self->may) & may) != 0;
}

/* ---- Endings counted ---- */

static atomic_uint_fast64_t accepted_ever;

static struct {
  HRESULT status;
  const char *name;
  atomic_uint_fast64_t ended, refused;
  bool as_end, as_refusal; /* what a long run has to see */
} statuses[] = {
    {.status = S_OK, .name = "S_OK", .as_end = true},
    {.status = S_FALSE, .name = "S_FALSE", .as_end = true},
    {.status = CHOSEN_STATUS, .name = "a success of its own", .as_end = true},
    {.status = FAIL_STATUS, .name = "a failure of its own", .as_end = true},
    {.status = E_FAIL, .name = "E_FAIL", .as_end = true},
    {.status = E_OUTOFMEMORY, .name = "E_OUTOFMEMORY", .as_end = true, .as_refusal = true},
    {.status = RSCA_E_CANCELLED, .name = "ERROR_CANCELLED", .as_end = true},
    {.status = RSCA_E_TIMEOUT, .name = "ERROR_TIMEOUT", .as_end = true},
    {.status = RPC_E_DISCONNECTED, .name = "RPC_E_DISCONNECTED", .as_end = true, .as_refusal = true},
    {.status = RSCA_E_BUSY, .name = "ERROR_BUSY", .as_refusal = true},
    {.status = RSCA_E_SHUTDOWN_IN_PROGRESS, .name = "ERROR_SHUTDOWN_IN_PROGRESS", .as_refusal = true},
    {.status = RSCA_E_ALREADY_EXISTS, .name = "ERROR_ALREADY_EXISTS", .as_refusal = true},
    {.status = RSCA_E_NOT_FOUND, .name = "ERROR_NOT_FOUND", .as_refusal = true},
};
enum { STATUSES = sizeof statuses / sizeof *statuses };

static unsigned place_of(HRESULT status) {
  unsigned place = 0;
  while (place < STATUSES && statuses[place].status != status)
    place++;
  return place;
}

void model_count_end(HRESULT status) {
  unsigned place = place_of(status);
  if (place < STATUSES)
    (void)atomic_fetch_add(&statuses[place].ended, 1);
}

uint64_t model_accepted(void) {
  return atomic_load(&accepted_ever);
}

void model_count_accepted(unsigned more) {
  (void)atomic_fetch_add(&accepted_ever, more);
}

void model_print(void) {
  (void)printf("%" PRIu64 " calls accepted\n", model_accepted());
  for (unsigned i = 0; i < STATUSES; i++)
    (void)printf("  %-28s %12" PRIu64 " ended %12" PRIu64 " refused\n", statuses[i].name,
                 (uint64_t)atomic_load(&statuses[i].ended), (uint64_t)atomic_load(&statuses[i].refused));
}

void model_expect_all(void) {
  for (unsigned i = 0; i < STATUSES; i++) {
    if (statuses[i].as_end && atomic_load(&statuses[i].ended) == 0)
      model_broken(NULL, "no call ever ended with %s", statuses[i].name);
    if (statuses[i].as_refusal && atomic_load(&statuses[i].refused) == 0)
      model_broken(NULL, "no call was ever refused with %s", statuses[i].name);
  }
}

/* ---- What is broken ---- */

static const char *const kind_names[] = {[RUN] = "run",
                                         [RUN_OBJECT] = "RunCustomAction",
                                         [SUBSCRIBE] = "subscribe",
                                         [REGISTER] = "RegisterCustomActionCallback",
                                         [HEALTH] = "CheckHealth"};
static const char *const life_names[] = {
    [STEPPED] = "stepped", [STEPPED_LUA] = "stepped, with Lua", [POOL] = "pool", [POOL_LUA] = "pool of Lua states"};

static void print_life(life *self, uint64_t since_ns) {
  const rsca_config *config = &self->config;
  (void)fprintf(
      stderr,
      "  manager %u: %s; queue %" PRIu32 "/%zu, drain %" PRIu32 ", workers %" PRIu32 ", limit %" PRIu32
      ", clean-up %" PRIu32 ", kill %" PRIu32 ", memory %zu, response %zu;%s%s%s may %u, open %u, accepted %u, "
      "told %u, users %u of which %u freed\n",
      self->number, life_names[self->kind], config->queue_limit, config->queue_bytes, config->drain_ms, config->workers,
      config->time_limit_ms, config->clean_up_ms, config->kill_ms, config->memory_limit, config->response_limit,
      self->holders ? " holders" : "", self->blockers ? " blockers" : "", self->steady ? " steady" : "",
      atomic_load(&self->may), atomic_load(&self->open), atomic_load(&self->accepted), atomic_load(&self->told),
      atomic_load(&self->registered), atomic_load(&self->freed));
  print_history(&self->past, since_ns);
}

static void print_call(call *self) {
  static const char *const answers[] = {"being asked for", "accepted", "refused"};
  (void)fprintf(stderr,
                "  call %u: %s of %s.%s, parameter %u, padding %zu, id %" PRIu64
                "; %s; may %u, starts %u, reported %u, responses %u, ends %u (0x%08" PRIX32 "), references %d%s%s\n",
                self->number, kind_names[self->kind], self->lua ? "l" : "n",
                self->what == BEHAVIOURS ? "dynamic" : behaviour_name(self->what), self->parameter, self->padding,
                atomic_load(&self->id), answers[atomic_load(&self->answer)], atomic_load(&self->may),
                atomic_load(&self->starts), atomic_load(&self->reported), atomic_load(&self->responses),
                atomic_load(&self->ends), (uint32_t)atomic_load(&self->status), atomic_load(&self->references),
                atomic_load(&self->holds) ? ", holds" : "", atomic_load(&self->over) ? ", over" : "");
  print_history(&self->past, self->asked_ns);
}

static void print_problem(const char *format, va_list arguments) {
  (void)fflush(stdout);
  (void)fprintf(stderr, "model: seed %" PRIu64 ", round %u%s: ", round_.seed, round_.number,
                round_.memory_fails ? ", memory fails" : "");
  (void)vfprintf(stderr, format, arguments);
  (void)fprintf(stderr, "\n");
}

void model_broken(const call *which, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_problem(format, arguments);
  va_end(arguments);
  if (which) {
    print_call(&round_.calls[which->number]);
    print_life(which->of, which->asked_ns);
  }
  abort();
}

void model_broken_life(const life *which, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_problem(format, arguments);
  va_end(arguments);
  print_life(&round_.lives[which->number], model_now_ns());
  abort();
}

static unsigned calls_so_far(void) {
  unsigned count = atomic_load(&round_.count);
  return count < round_.capacity ? count : round_.capacity;
}

static bool is_open(const call *self) {
  return atomic_load(&self->answer) != WAS_REFUSED && !atomic_load(&self->over);
}

void model_print_open(void) {
  unsigned printed = 0;
  for (unsigned i = 1; i < calls_so_far() && printed < 20; i++)
    if (round_.calls[i].of && is_open(&round_.calls[i])) {
      print_call(&round_.calls[i]);
      printed++;
    }
  for (unsigned i = 0; i < atomic_load(&round_.life_count); i++) {
    life *self = &round_.lives[i];
    if (atomic_load(&self->open) > 0 || atomic_load(&self->freed) != atomic_load(&self->registered))
      print_life(self, model_now_ns());
  }
}

/* ---- Calls ---- */

bool call_is_registration(const call *self) {
  return self->kind == SUBSCRIBE || self->kind == REGISTER;
}

call *call_new(life *of, call_kind kind, uint64_t seed) {
  unsigned number = atomic_fetch_add(&round_.count, 1);
  if (number >= round_.capacity)
    return NULL;
  call *self = &round_.calls[number];
  self->number = number;
  self->of = of;
  self->kind = kind;
  self->seed = seed;
  atomic_store(&self->references, 1);
  return self;
}

call *call_of(unsigned number) {
  if (number == 0 || number >= calls_so_far() || !round_.calls[number].of)
    model_broken(NULL, "an action was started with the number %u, which no call has", number);
  return &round_.calls[number];
}

size_t call_args(const call *self, char *room) {
  size_t size = (size_t)snprintf(room, CALL_ARGS, "%u %u ", self->number, self->parameter);
  memset(room + size, 'x', self->padding);
  room[size + self->padding] = '\0';
  return size + self->padding;
}

/* Whether these are the bytes that its arguments have. */
static bool is_echo(const call *self, const void *bytes, size_t size) {
  static const char padding[65] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
  char head[32];
  size_t head_size = (size_t)snprintf(head, sizeof head, "%u %u ", self->number, self->parameter);
  if (size != head_size + self->padding || memcmp(bytes, head, head_size) != 0)
    return false;
  const char *rest = (const char *)bytes + head_size;
  for (size_t left = self->padding, part; left > 0; left -= part, rest += part) {
    part = left < 64 ? left : 64;
    if (memcmp(rest, padding, part) != 0)
      return false;
  }
  return true;
}

call *call_of_args(const char *args, size_t size) {
  call *self = call_of((unsigned)strtoul(args, NULL, 10));
  if (!is_echo(self, args, size))
    model_broken(self, "its arguments arrived as '%.100s'", args);
  return self;
}

bool call_asks(call *self) {
  life *of = self->of;
  bool last = atomic_fetch_add(&of->asked, 1) + 1 == of->lifetime;
  (void)atomic_fetch_add(&of->open, 1);
  (void)atomic_fetch_add(&round_.open, 1);
  history_add(&self->past, ASKED, (HRESULT)self->kind);
  self->asked_ns = model_now_ns();
  asking = self->number;
  return last;
}

/* What refused it, or nothing. */
static const char *why_not_refused(const call *self, HRESULT status) {
  const life *of = self->of;
  switch (status) {
  case RSCA_E_BUSY:
    return NULL;
  case RSCA_E_SHUTDOWN_IN_PROGRESS:
    return life_allows(of, MAY_SHUT) ? NULL : "refused as shut down, which nobody did";
  case RSCA_E_NOT_FOUND:
    return self->what == BEHAVIOURS ? NULL : "refused as unknown, which it is not";
  case RSCA_E_ALREADY_EXISTS:
    return self->kind == REGISTER ? NULL : "refused as registered, which is for those by name";
  case RPC_E_DISCONNECTED:
    return self->lua && of->kind == STEPPED_LUA && life_allows(of, MAY_DISCONNECT) ? NULL
                                                                                   : "refused by a state that is open";
  case E_OUTOFMEMORY:
    return memory_has_failed() ? NULL : "refused for lack of memory, which there is";
  default:
    return "refused with a status that means nothing of the kind";
  }
}

void call_answered(call *self, HRESULT status) {
  life *of = self->of;
  asking = 0;
  if (status == S_OK) {
    history_add(&self->past, ACCEPTED, 0);
    if (self->kind != HEALTH)
      model_count_accepted(1);
    atomic_store(&self->answer, WAS_ACCEPTED);
    return;
  }
  history_add(&self->past, REFUSED, status);
  atomic_store(&self->refused, status);
  atomic_store(&self->answer, WAS_REFUSED);
  const char *why = why_not_refused(self, status);
  if (why)
    model_broken(self, "it was %s: 0x%08" PRIX32, why, (uint32_t)status);
  if (!self->proxied && atomic_load(&self->references) != 1)
    model_broken(self, "it was refused, but its callback is held");
  unsigned place = place_of(status);
  if (place < STATUSES)
    (void)atomic_fetch_add(&statuses[place].refused, 1);
  (void)atomic_fetch_sub(&of->open, 1);
  (void)atomic_fetch_sub(&round_.open, 1);
}

void call_has_id(call *self, uint64_t id) {
  uint64_t known = 0;
  if (id == 0 || (!atomic_compare_exchange_strong(&self->id, &known, id) && known != id))
    model_broken(self, "its id is %" PRIu64 " as well", id);
}

void call_starts(call *self) {
  history_add(&self->past, STARTED, 0);
  if (atomic_load(&self->answer) == WAS_REFUSED)
    model_broken(self, "its action runs, though it was refused");
  if (atomic_fetch_add(&self->starts, 1) > 0)
    model_broken(self, "its action runs twice");
  if (asking == self->number)
    model_broken(self, "its action runs on the stack of the call that asks for it");
}

void call_reports(call *self) {
  (void)atomic_fetch_add(&self->reported, 1);
}

void call_hold(call *self) {
  (void)atomic_fetch_add(&self->of->held, 1);
  history_add(&self->past, REFERENCE_TAKEN, (HRESULT)rsca_manager_add_ref(self->of->manager));
  atomic_store(&self->holds, true);
}

void call_unhold(call *self) {
  if (!atomic_exchange(&self->holds, false))
    return;
  history_add(&self->past, REFERENCE_GIVEN, 0);
  (void)atomic_fetch_sub(&self->of->held, 1);
  (void)rsca_manager_release(self->of->manager);
}

/* ---- What callbacks are told ---- */

static bool tells_parts(const call *self) {
  return self->what == COUNT || self->what == LATE;
}

static bool echoes(const call *self) {
  return self->what == BEHAVIOURS || behaviours[self->what].echoes;
}

static HRESULT usual_status(const call *self) {
  HRESULT status = self->what == BEHAVIOURS ? S_OK : behaviours[self->what].status;
  return SUCCEEDED(status) && call_is_registration(self) ? S_FALSE : status;
}

/* NULL: what it says is what its action said. */
static const char *why_not_parts(const call *self, const char *bytes, size_t size) {
  char expected[32];
  unsigned part = 0;
  for (; size > 0; part++) {
    size_t length = (size_t)snprintf(expected, sizeof expected, "%u:%u;", self->number, part);
    if (size < length || memcmp(bytes, expected, length) != 0)
      return "its response is not what was reported";
    bytes += length;
    size -= length;
  }
  return part == atomic_load(&self->reported) ? NULL : "its response is not all that was reported";
}

static const char *why_not_usual(const call *self, HRESULT status, const char *bytes, size_t size) {
  if (call_is_registration(self) && SUCCEEDED(status)) {
    unsigned responses = tells_parts(self) ? atomic_load(&self->reported) : echoes(self);
    if (size > 0)
      return "a final that is no failure has bytes";
    return atomic_load(&self->responses) == responses ? NULL : "responses were lost";
  }
  if (FAILED(status)) {
    bool has_message = self->lua || !call_is_registration(self); /* what C reports there is a response */
    if (self->what == FAIL && has_message && !is_echo(self, bytes, size))
      return "its message is not what its action said";
    if (self->what == RAISE) {
      char head[32];
      size_t head_size = (size_t)snprintf(head, sizeof head, "%u %u ", self->number, self->parameter);
      if (size < head_size || memcmp(bytes, head, head_size) != 0)
        return "its message is not what its action raised";
    }
    return NULL;
  }
  if (self->of->config.response_limit && size > self->of->config.response_limit)
    return "its response is larger than the limit";
  if (tells_parts(self))
    return why_not_parts(self, bytes, size);
  if (echoes(self))
    return is_echo(self, bytes, size) ? NULL : "its response is not what its action said";
  return size == 0 ? NULL : "it has a response, and its action said nothing";
}

static uint64_t limit_ms(const call *self) {
  return self->lua && behaviours[self->what].limited ? OWN_LIMIT_MS : self->of->limit_ms;
}

static bool asks_others(const call *self) {
  return self->what == AWAIT || self->what == STREAM;
}

static bool may_lack_memory(const call *self) {
  const life *of = self->of;
  size_t limit = of->config.response_limit;
  if (limit && (self->padding + 24 > limit || (size_t)self->parameter * 20 > limit))
    return true;
  return (self->lua && of->kind == POOL_LUA && of->config.memory_limit) || memory_has_failed();
}

/* NULL: the contract allows this end. */
static const char *why_not_end(const call *self, HRESULT status, const char *bytes, size_t size) {
  bool unregistered = (atomic_load(&self->may) & MAY_UNREGISTER) != 0;
  unsigned may = atomic_load(&self->may) | atomic_load(&self->of->may);
  if (status == usual_status(self) && !(status == S_FALSE && unregistered))
    return why_not_usual(self, status, bytes, size);
  switch (status) {
  case S_FALSE:
    return unregistered ? NULL : "nobody ended this registration";
  case RSCA_E_CANCELLED:
    if (!(may & MAY_CANCEL))
      return "nobody has cancelled it";
    break;
  case RSCA_E_TIMEOUT:
    if (!limit_ms(self))
      return "it has no time limit";
    if (model_now_ns() - self->asked_ns < limit_ms(self) * UINT64_C(1000000))
      return "its time limit is not over";
    break;
  case RPC_E_DISCONNECTED:
    if (!(may & MAY_DISCONNECT) || (!self->lua && !life_is_pool(self->of)))
      return "what it runs in was not closed";
    break;
  case E_OUTOFMEMORY:
    return may_lack_memory(self) ? NULL : "there is memory enough";
  case E_FAIL:
    return self->lua && memory_has_failed() ? NULL : "nothing was raised";
  case RSCA_E_BUSY:
    return asks_others(self) ? NULL : "what ended it was never there";
  case RSCA_E_SHUTDOWN_IN_PROGRESS:
    return asks_others(self) && (may & MAY_SHUT) ? NULL : "what ended it was never there";
  default:
    return "its action never ends like this";
  }
  return size > 0 ? NULL : "it does not say why";
}

static const char *why_not_response(const call *self, const char *bytes, size_t size) {
  char expected[32];
  unsigned part = atomic_load(&self->responses);
  if (tells_parts(self)) {
    size_t length = (size_t)snprintf(expected, sizeof expected, "%u:%u;", self->number, part);
    return size == length && memcmp(bytes, expected, length) == 0 ? NULL : "this response is not the next one";
  }
  if (!echoes(self))
    return "its action has no responses";
  return part == 0 && is_echo(self, bytes, size) ? NULL : "this response is not what its action said";
}

void call_told(call *self, HRESULT status, const void *bytes, size_t size, bool final) {
  history_add(&self->past, final ? TOLD_END : TOLD_RESPONSE, status);
  if (atomic_exchange(&self->telling, true))
    model_broken(self, "it is told two things at a time");
  if (atomic_load(&self->answer) == WAS_REFUSED)
    model_broken(self, "it is told something, though it was refused");
  if (asking == self->number)
    model_broken(self, "it is told something on the stack of the call that asks for it");
  if (atomic_load(&self->ends) > 0)
    model_broken(self, "it is told something after its end");
  if (size > 0 ? !bytes : bytes != NULL)
    model_broken(self, "it is told %zu bytes at %p", size, bytes);
  if (!final) {
    if (!call_is_registration(self) || status != S_OK)
      model_broken(self, "it is told a response, with 0x%08" PRIX32, (uint32_t)status);
    const char *why = why_not_response(self, bytes, size);
    if (why)
      model_broken(self, "%s: '%.*s'", why, (int)(size < 100 ? size : 100), bytes ? (const char *)bytes : "");
    (void)atomic_fetch_add(&self->responses, 1);
    return;
  }
  atomic_store(&self->status, status);
  (void)atomic_fetch_add(&self->ends, 1);
  if (self->kind == HEALTH)
    return;
  const char *why = why_not_end(self, status, bytes, size);
  if (why)
    model_broken(self, "ended with 0x%08" PRIX32 ", but %s: '%.*s'", (uint32_t)status, why,
                 (int)(size < 1000 ? size : 1000), bytes ? (const char *)bytes : "");
  model_count_end(status);
  (void)atomic_fetch_add(&self->of->told, 1);
}

void call_told_end(call *self, bool final) {
  life *of = self->of;
  atomic_store(&self->telling, false);
  if (!final)
    return;
  atomic_store(&self->over, true);
  (void)atomic_fetch_sub(&of->open, 1);
  (void)atomic_fetch_sub(&round_.open, 1);
}

/* ---- Rounds ---- */

void model_begin(uint64_t seed, unsigned number, unsigned calls, bool memory_fails) {
  round_.seed = seed;
  round_.number = number;
  round_.memory_fails = memory_fails;
  round_.capacity = calls;
  round_.calls = memory_take(calls * sizeof *round_.calls);
  atomic_store(&round_.count, 1); /* no call is number 0 */
  atomic_store(&round_.life_count, 0);
  atomic_store(&round_.open, 0);
}

void model_end(void) {
  for (unsigned i = 1; i < calls_so_far(); i++) {
    call *self = &round_.calls[i];
    if (!self->of)
      continue;
    if (atomic_load(&self->answer) == ASKING)
      model_broken(self, "it was never answered");
    bool accepted = atomic_load(&self->answer) == WAS_ACCEPTED;
    if (atomic_load(&self->ends) != accepted)
      model_broken(self, "it should have been told %d times how it ended", accepted);
    if (!accepted && (atomic_load(&self->responses) > 0 || atomic_load(&self->starts) > 0))
      model_broken(self, "it was refused, but something came of it");
    if (atomic_load(&self->references) != 1)
      model_broken(self, "its callback's references were not given back, or too often");
  }
  for (unsigned i = 0; i < atomic_load(&round_.life_count); i++) {
    life *self = &round_.lives[i];
    if (atomic_load(&self->freed) != atomic_load(&self->registered))
      model_broken_life(self, "its actions' users were not freed");
  }
  memory_give(round_.calls);
  round_.calls = NULL;
}

bool model_memory_fails(void) {
  return round_.memory_fails;
}

uint64_t model_seed(void) {
  return round_.seed;
}

unsigned model_open(void) {
  return atomic_load(&round_.open);
}

unsigned model_users(void) {
  unsigned users = 0;
  for (unsigned i = 0; i < atomic_load(&round_.life_count); i++)
    users += atomic_load(&round_.lives[i].registered) - atomic_load(&round_.lives[i].freed);
  return users;
}
