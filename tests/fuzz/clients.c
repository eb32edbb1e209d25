#include "clients.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <rsca/protocol_manager.h>
#include <rsca/shared.h>

#include "actions.h"
#include "callbacks.h"
#include "hosts.h"
#include "memory.h"

enum { MOST_OPEN = 400, MOST_NESTED = 2, POCKETS = 2 };

static _Thread_local unsigned nested; /* misbehaving calls on this stack */

/* ---- Which call ---- */

typedef struct share {
  behaviour what;
  unsigned weight;
} share;

static behaviour pick(chance *luck, const share *shares) {
  unsigned sum = 0;
  for (const share *one = shares; one->weight; one++)
    sum += one->weight;
  unsigned left = chance_below(luck, sum);
  while (left >= shares->weight)
    left -= (shares++)->weight;
  return shares->what;
}

static const share native_shares[] = {{ECHO, 4000},  {CHOSEN, 400},     {FAIL, 400},    {SILENT, 1000},
                                      {COUNT, 1000}, {LATE, 1000},      {NEVER, 60},    {POLL, 40},
                                      {GATE, 15},    {BEHAVIOURS, 300}, {BEHAVIOURS, 0}};
static const share lua_shares[] = {{ECHO, 4000}, {CHOSEN, 400}, {FAIL, 400},  {SILENT, 800}, {COUNT, 1000},
                                   {RAISE, 400}, {BAD, 100},    {SLEEP, 500}, {YIELD, 500},  {POLL, 20},
                                   {AWAIT, 500}, {STREAM, 100}, {DOZE, 60},   {CLOSE, 60},   {SHORT, 40},
                                   {LOOP, 3},    {STUBBORN, 3}, {EAT, 3},     {GATE, 5},     {ECHO, 0}};

static bool is_wanted(const life *of, behaviour what, bool lua) {
  switch (what) {
  case GATE:
    return of->blockers && (!lua || of->kind == POOL_LUA);
  case EAT:
    return of->kind == POOL_LUA && of->config.memory_limit;
  case LOOP:
  case STUBBORN:
    return !of->steady;
  default:
    return true;
  }
}

static void pick_behaviour(chance *luck, const life *of, call *self) {
  do {
    self->lua = life_has_lua(of) && chance_one_in(luck, 2);
    self->what = pick(luck, self->lua ? lua_shares : native_shares);
  } while (!is_wanted(of, self->what, self->lua));
  self->parameter = chance_one_in(luck, 40) ? chance_below(luck, 400) : chance_below(luck, 6);
  self->padding = chance_one_in(luck, 20) ? chance_below(luck, CALL_PADDING) : chance_below(luck, 20);
}

call *clients_prepare(chance *luck, life *of, call_kind kind) {
  call *self = call_new(of, kind, chance_next(luck));
  if (!self)
    return NULL;
  callbacks_init(self);
  pick_behaviour(luck, of, self);
  return self;
}

void clients_note(call *self) {
  atomic_store(&self->of->recent[self->number % RECENT], self->number);
}

const char *clients_action_name(const call *self, char *room) {
  if (self->what == BEHAVIOURS)
    return actions_dynamic_name(self->parameter);
  (void)snprintf(room, 16, "%s.%s", self->lua ? "l" : "n", behaviour_name(self->what));
  return room;
}

/* ---- Asking for it ---- */

/* These are ASCII. */
static void widen(const char *text, WCHAR *room) {
  do
    *room++ = (WCHAR)*text;
  while (*text++);
}

static HRESULT ask_interface(call *self, const char *name, const char *args, IPmCustomActions2 *session) {
  WCHAR wide_name[16], wide_args[CALL_ARGS];
  widen(name, wide_name);
  widen(args, wide_args);
  if (self->kind == REGISTER)
    return session->lpVtbl->RegisterCustomActionCallback(session, wide_name, wide_args, &self->callback2);
  IPmCustomActions *actions = rsca_manager_custom_actions(self->of->manager);
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, wide_name, wide_args, &self->callback);
  (void)actions->lpVtbl->Release(actions);
  return status;
}

static HRESULT ask(chance *luck, call *self, IPmCustomActions2 *session) {
  char name_room[16], args[CALL_ARGS];
  const char *name = clients_action_name(self, name_room);
  rsca_manager *manager = self->of->manager;
  HRESULT status;
  uint64_t id = 0;
  (void)call_args(self, args);
  if (self->of->holders && chance_below(luck, 10) < 3)
    call_hold(self);
  bool memory = model_memory_fails() && chance_one_in(luck, 20);
  bool enough = call_asks(self);
  memory_fail_at(memory ? chance_between(luck, 1, 6) : 0);
  switch (self->kind) {
  case RUN:
    status = rsca_manager_run(manager, name, args, callbacks_result, self, &id);
    break;
  case SUBSCRIBE:
    status = rsca_manager_subscribe(manager, name, args, callbacks_result, self, &id);
    break;
  default:
    status = ask_interface(self, name, args, session);
  }
  memory_fail_at(0);
  if ((status == S_OK) != (id != 0) && (self->kind == RUN || self->kind == SUBSCRIBE))
    model_broken(self, "it was answered 0x%08x and has the id %llu", (unsigned)status, (unsigned long long)id);
  if (id)
    call_has_id(self, id);
  call_answered(self, status);
  if (status != S_OK)
    call_unhold(self);
  clients_note(self);
  if (enough)
    hosts_wake();
  return status;
}

/* ---- Registrations by name ---- */

/* One session, used by one thread: what it has registered is known. */
typedef struct pocket {
  life *of; /* a reference to its manager; NULL: empty */
  IPmCustomActions2 *session;
  call *registered[2][BEHAVIOURS];
} pocket;

static call **registered_as(pocket *self, const call *what) {
  return what->what == BEHAVIOURS ? NULL : &self->registered[what->lua][what->what];
}

/* In a session of one's own, or in the default one, which all share. */
static void register_by_name(chance *luck, pocket *from, call *self) {
  if (!from || !from->session || self->what == BEHAVIOURS || chance_one_in(luck, 4)) {
    IPmCustomActions2 *session = rsca_manager_custom_actions2(self->of->manager);
    (void)ask(luck, self, session);
    (void)session->lpVtbl->Release(session);
    return;
  }
  call **place = registered_as(from, self);
  call *before = *place;
  bool had_ended = !before || atomic_load(&before->ends) > 0;
  HRESULT status = ask(luck, self, from->session);
  if (status == RSCA_E_ALREADY_EXISTS && had_ended)
    model_broken(self, "its name was taken, by call %u, whose end was told", before ? before->number : 0);
  if (status == S_OK)
    *place = self;
}

static void unregister_by_name(chance *luck, pocket *from) {
  unsigned lua = chance_below(luck, 2), what = chance_below(luck, BEHAVIOURS);
  call *open = from->registered[lua][what];
  if (!from->session || (!open && !chance_one_in(luck, 10)))
    return;
  char name[16];
  WCHAR wide[16];
  (void)snprintf(name, sizeof name, "%s.%s", lua ? "l" : "n", behaviour_name((behaviour)what));
  widen(name, wide);
  bool had_ended = !open || atomic_load(&open->ends) > 0;
  if (open) {
    (void)atomic_fetch_or(&open->may, MAY_UNREGISTER);
    history_add(&open->past, UNREGISTER_ASKED, 0);
  }
  HRESULT status = from->session->lpVtbl->UnregisterCustomActionCallback(from->session, wide);
  if (open)
    history_add(&open->past, UNREGISTER_ANSWERED, status);
  if (status == S_OK && had_ended)
    model_broken(open, "its name could be unregistered, though it was told its end, or never was: %s", name);
  if (status != S_OK && status != RSCA_E_NOT_FOUND && !(status == E_OUTOFMEMORY && memory_has_failed()))
    model_broken_life(from->of, "unregistering %s was answered 0x%08x", name, (unsigned)status);
  if (status != E_OUTOFMEMORY)
    from->registered[lua][what] = NULL;
}

static void submit(chance *luck, life *of, pocket *from) {
  call *self = clients_prepare(luck, of, (call_kind)chance_below(luck, HEALTH));
  if (!self)
    return;
  if (self->kind == REGISTER)
    register_by_name(luck, from, self);
  else
    (void)ask(luck, self, NULL);
}

static void check_health(chance *luck, life *of) {
  call *self = call_new(of, HEALTH, chance_next(luck));
  if (!self)
    return;
  callbacks_init(self);
  IPmHealthAndIdleMonitor *monitor = rsca_manager_health_monitor(of->manager);
  BOOL idle;
  (void)monitor->lpVtbl->CheckIdle(monitor, &idle);
  (void)call_asks(self);
  call_answered(self, monitor->lpVtbl->CheckHealth(monitor, &self->health));
  (void)monitor->lpVtbl->Release(monitor);
}

/* ---- What must be refused ---- */

static void never_told(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)response, (void)size, (void) final;
  model_broken_life(user, "what had to be refused was told 0x%08x", (unsigned)status);
}

static void ask_badly(chance *luck, life *of) {
  static const struct {
    const char *name, *args;
    HRESULT status;
  } bad[] = {{NULL, "", E_INVALIDARG},
             {"", "", E_INVALIDARG},
             {"n.echo\xC0\x80", "", RSCA_E_NO_UNICODE_TRANSLATION},
             {"n.echo", "\xED\xA0\x80", RSCA_E_NO_UNICODE_TRANSLATION},
             {"n.never.was", "", RSCA_E_NOT_FOUND}};
  unsigned which = chance_below(luck, sizeof bad / sizeof *bad);
  uint64_t id = 7;
  HRESULT status = chance_one_in(luck, 2)
                       ? rsca_manager_run(of->manager, bad[which].name, bad[which].args, never_told, of, &id)
                       : rsca_manager_subscribe(of->manager, bad[which].name, bad[which].args, never_told, of, &id);
  bool shut = bad[which].status == RSCA_E_NOT_FOUND && status == RSCA_E_SHUTDOWN_IN_PROGRESS;
  if ((status != bad[which].status && !(shut && life_allows(of, MAY_SHUT))) || id != 0)
    model_broken_life(of, "bad call %u was answered 0x%08x", which, (unsigned)status);
}

/* ---- Ending ---- */

static void cancel(chance *luck, call *self) {
  static const unsigned graces_ms[] = {0, 0, 1, 20, 10000};
  life *of = self->of;
  uint64_t id = atomic_load(&self->id);
  unsigned grace_ms = of->steady ? 10000 : graces_ms[chance_below(luck, sizeof graces_ms / sizeof *graces_ms)];
  if (id == 0)
    return;
  (void)atomic_fetch_or(&self->may, MAY_CANCEL);
  history_add(&self->past, CANCEL_ASKED, (HRESULT)grace_ms);
  HRESULT status = rsca_manager_cancel(of->manager, id, grace_ms);
  history_add(&self->past, CANCEL_ANSWERED, status);
  if (status != S_OK && status != RSCA_E_NOT_FOUND)
    model_broken(self, "its cancel was answered 0x%08x", (unsigned)status);
}

static void unsubscribe(call *self) {
  uint64_t id = atomic_load(&self->id);
  if (id == 0)
    return;
  if (call_is_registration(self))
    (void)atomic_fetch_or(&self->may, MAY_UNREGISTER);
  history_add(&self->past, UNREGISTER_ASKED, 0);
  HRESULT status = rsca_manager_unsubscribe(self->of->manager, id);
  history_add(&self->past, UNREGISTER_ANSWERED, status);
  if (status != RSCA_E_NOT_FOUND && !(status == S_OK && call_is_registration(self)))
    model_broken(self, "its unsubscribe was answered 0x%08x", (unsigned)status);
}

/* Some call of this manager; NULL: none comes to mind. */
static call *recall(chance *luck, life *of) {
  unsigned number = atomic_load(&of->recent[chance_below(luck, RECENT)]);
  return number ? call_of(number) : NULL;
}

static void interfere(chance *luck, life *of) {
  call *other = recall(luck, of);
  if (!other)
    return;
  if (chance_one_in(luck, 3))
    unsubscribe(other);
  else
    cancel(luck, other);
}

HRESULT clients_shut_down(chance *luck, life *of) {
  bool immediate = chance_one_in(luck, 2);
  HRESULT status;
  life_allow(of, MAY_CANCEL | MAY_SHUT | (life_is_pool(of) ? MAY_DISCONNECT : 0));
  history_add(&of->past, SHUTDOWN_ASKED, immediate);
  if (chance_one_in(luck, 2)) {
    status = rsca_manager_shutdown(of->manager, immediate);
  } else {
    IProtocolManager *protocol = rsca_manager_protocol_manager(of->manager);
    status = protocol->lpVtbl->Shutdown(protocol, immediate);
    (void)protocol->lpVtbl->Release(protocol);
  }
  history_add(&of->past, SHUTDOWN_ANSWERED, status);
  if (status != S_OK && status != S_FALSE)
    model_broken_life(of, "shutdown was answered 0x%08x", (unsigned)status);
  hosts_wake();
  return status;
}

/* ---- Looking ---- */

static void look_at_call(void *user, const rsca_call_info *info) {
  const life *of = user;
  if (info->id == 0 || !info->action || strlen(info->args) > 63 || !info->state)
    model_broken_life(of, "a call in flight is not told as it should be");
}

static void look_at_action(void *user, const rsca_action_info *info) {
  if (strlen(info->name) < 3)
    model_broken_life(user, "an action is called '%s'", info->name);
}

static void look(chance *luck, life *of) {
  rsca_manager_stats stats;
  HRESULT status = S_OK;
  switch (chance_below(luck, 6)) {
  case 0:
    status = rsca_manager_list(of->manager, look_at_action, of);
    break;
  case 1:
    if (chance_one_in(luck, 20))
      status = rsca_manager_running(of->manager, look_at_call, of);
    break;
  case 2:
    status = rsca_manager_cut_calls(of->manager, look_at_call, of);
    break;
  default:
    rsca_manager_get_stats(of->manager, &stats);
    if (stats.ended > stats.accepted)
      model_broken_life(of, "more calls ended than were accepted");
  }
  if (status != S_OK && !(status == E_OUTOFMEMORY && memory_has_failed()))
    model_broken_life(of, "a look was answered 0x%08x", (unsigned)status);
}

static void add_shared(life *of) {
  const rsca_value one = rsca_value_integer(1);
  (void)atomic_fetch_add(&of->shared_begun, 1);
  HRESULT status = rsca_shared_add(of->manager, "sum", 3, &one, 0, NULL);
  if (status == S_OK)
    (void)atomic_fetch_add(&of->shared_done, 1);
  else if (status != E_OUTOFMEMORY || !memory_has_failed())
    model_broken_life(of, "adding to a shared value was answered 0x%08x", (unsigned)status);
}

/* ---- From inside ---- */

static void misbehave(chance *luck, call *self, moment where) {
  life *of = self->of;
  switch (chance_below(luck, 12)) {
  case 0:
  case 1:
  case 2:
    if (nested <= MOST_NESTED)
      submit(luck, of, NULL);
    break;
  case 3:
    cancel(luck, self);
    break;
  case 4:
    unsubscribe(self);
    break;
  case 5:
    interfere(luck, of);
    break;
  case 6:
    look(luck, of);
    break;
  case 7:
    add_shared(of);
    break;
  case 8:
    if (chance_one_in(luck, 200))
      (void)clients_shut_down(luck, of);
    break;
  case 9:
    if (hosts_is_stepping(of) && rsca_manager_step(of->manager, 0) != RSCA_E_POSSIBLE_DEADLOCK)
      model_broken(self, "a step inside a step was made");
    break;
  case 10:
    actions_register_dynamic(luck, of);
    break;
  default:
    /* Nobody else may need it to be stepped. */
    if (where == IN_END && atomic_load(&of->held) == 1)
      hosts_give_back_in_step(of);
    break;
  }
}

void clients_misbehave(call *self, moment where) {
  if (!atomic_load(&self->holds))
    return;
  chance luck = chance_of(self->seed, where + (uint64_t)atomic_load(&self->responses) * 8);
  if (chance_below(&luck, 4) > 0)
    return;
  nested++;
  misbehave(&luck, self, where);
  nested--;
}

/* ---- Threads ---- */

static void empty(pocket *self) {
  if (self->session)
    (void)self->session->lpVtbl->Release(self->session);
  if (self->of)
    (void)rsca_manager_release(self->of->manager);
  memset(self, 0, sizeof *self);
}

static void fill(chance *luck, pocket *self) {
  empty(self);
  self->of = hosts_borrow(chance_below(luck, hosts_count()));
  if (self->of && chance_one_in(luck, 2) && FAILED(rsca_manager_create_session(self->of->manager, &self->session)) &&
      !memory_has_failed())
    model_broken_life(self->of, "no session could be made");
}

static void act(chance *luck, pocket *from) {
  life *of = from->of;
  unsigned what = chance_below(luck, 1000);
  if (atomic_load(&of->open) > MOST_OPEN && what < 900) {
    interfere(luck, of);
    (void)sched_yield();
    return;
  }
  if (what < 850)
    submit(luck, of, from);
  else if (what < 910)
    interfere(luck, of);
  else if (what < 940)
    unregister_by_name(luck, from);
  else if (what < 960)
    actions_register_dynamic(luck, of);
  else if (what < 975)
    look(luck, of);
  else if (what < 985)
    add_shared(of);
  else if (what < 990)
    ask_badly(luck, of);
  else if (what < 995)
    check_health(luck, of);
  else if (chance_one_in(luck, 100))
    (void)clients_shut_down(luck, of);
}

void clients_run(uint64_t seed, unsigned deeds) {
  chance luck = {seed};
  pocket pockets[POCKETS];
  memset(pockets, 0, sizeof pockets);
  for (unsigned i = 0; i < deeds; i++) {
    pocket *one = &pockets[chance_below(&luck, POCKETS)];
    if (!one->of || chance_one_in(&luck, 300))
      fill(&luck, one);
    if (one->of)
      act(&luck, one);
    else
      (void)sched_yield();
  }
  for (unsigned i = 0; i < POCKETS; i++)
    empty(&pockets[i]);
}
