#include "actions.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clients.h"
#include "memory.h"

enum { MOST_HELD = 200, PATIENCE_NS = 2000000 };

/* ---- What waits ---- */

typedef struct queue {
  call *first, *last;
  unsigned count;
} queue;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* Protects what follows, and the gates of calls */
static pthread_cond_t something = PTHREAD_COND_INITIALIZER, gate = PTHREAD_COND_INITIALIZER;
static queue late, held, gates;
static bool hurry, ending;
static pthread_t helper;

static void put(queue *self, call *what) {
  what->next_pending = NULL;
  if (self->last)
    self->last->next_pending = what;
  else
    self->first = what;
  self->last = what;
  self->count++;
}

static call *take(queue *self) {
  call *what = self->first;
  if (!what)
    return NULL;
  self->first = what->next_pending;
  if (!self->first)
    self->last = NULL;
  self->count--;
  return what;
}

/* Those whose manager is being shut down have waited long enough. */
static void move_due(void) {
  queue kept = {0};
  call *what;
  while ((what = take(&held)) != NULL)
    put(hurry || held.count + kept.count > MOST_HELD || life_allows(what->of, MAY_SHUT) ? &late : &kept, what);
  held = kept;
}

/* ---- The thread ---- */

static void report_late(call *self, unsigned count) {
  char text[32];
  for (unsigned i = 0; i < count; i++) {
    int size = snprintf(text, sizeof text, "%u:%u;", self->number, atomic_load(&self->reported));
    HRESULT status = rsca_call_report(self->pending, text, (size_t)size);
    if (status == S_OK)
      call_reports(self);
    else if (status == RSCA_E_BUSY)
      (void)sched_yield();
    else if (status != E_OUTOFMEMORY && status != RSCA_E_CANCELLED)
      model_broken(self, "its late report was answered 0x%08x", (unsigned)status);
    if (status == RSCA_E_CANCELLED)
      return;
  }
}

static void finish(chance *luck, call *self) {
  char text[CALL_ARGS];
  size_t size = 0;
  if (self->what == LATE) {
    bool last = self->parameter > 0 && chance_one_in(luck, 2);
    report_late(self, self->parameter - last);
    if (last) {
      size = (size_t)snprintf(text, sizeof text, "%u:%u;", self->number, atomic_load(&self->reported));
      call_reports(self);
    }
  } else {
    size = call_args(self, text);
  }
  history_add(&self->past, FINISHED, 0);
  HRESULT status = rsca_call_finish(self->pending, S_OK, size ? text : NULL, size);
  if (status != S_OK && status != E_OUTOFMEMORY)
    model_broken(self, "its finish was answered 0x%08x", (unsigned)status);
}

static void wait_for_something(void) {
  struct timespec until;
  (void)clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += PATIENCE_NS;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  (void)pthread_cond_timedwait(&something, &lock, &until);
}

static void *helper_main(void *user) {
  chance luck = *(chance *)user;
  memory_give(user);
  unsigned patience = 0;
  (void)pthread_mutex_lock(&lock);
  while (!ending || late.count + held.count + gates.count > 0) {
    bool waited = false;
    if (!hurry && late.count + gates.count <= patience) {
      wait_for_something();
      waited = true;
    }
    move_due();
    if (!hurry && !waited && late.count + gates.count <= patience)
      continue;
    patience = chance_below(&luck, 8);
    call *blocked = take(&gates);
    if (blocked) {
      blocked->gate_is_open = true;
      (void)pthread_cond_broadcast(&gate);
    }
    call *pending = take(&late);
    if (pending) {
      (void)pthread_mutex_unlock(&lock);
      finish(&luck, pending);
      (void)pthread_mutex_lock(&lock);
    } else if (hurry && !blocked) {
      wait_for_something();
    }
  }
  (void)pthread_mutex_unlock(&lock);
  return NULL;
}

void actions_begin(uint64_t seed) {
  chance *luck = memory_take(sizeof *luck);
  *luck = chance_of(seed, 77);
  hurry = ending = false;
  if (pthread_create(&helper, NULL, helper_main, luck) != 0)
    model_broken(NULL, "no thread for the helper");
}

void actions_hurry(void) {
  (void)pthread_mutex_lock(&lock);
  hurry = true;
  (void)pthread_cond_signal(&something);
  (void)pthread_mutex_unlock(&lock);
}

void actions_end(void) {
  (void)pthread_mutex_lock(&lock);
  hurry = ending = true;
  (void)pthread_cond_signal(&something);
  (void)pthread_mutex_unlock(&lock);
  (void)pthread_join(helper, NULL);
}

static void leave(queue *where, call *self) {
  (void)pthread_mutex_lock(&lock);
  put(where, self);
  (void)pthread_cond_signal(&something);
  (void)pthread_mutex_unlock(&lock);
}

void actions_wait_at_gate(call *self) {
  leave(&gates, self);
  (void)pthread_mutex_lock(&lock);
  while (!self->gate_is_open)
    (void)pthread_cond_wait(&gate, &lock);
  (void)pthread_mutex_unlock(&lock);
}

/* ---- Actions ---- */

static HRESULT count(call *self, rsca_call *which) {
  char text[32];
  for (unsigned i = 0; i < self->parameter; i++) {
    int size = snprintf(text, sizeof text, "%u:%u;", self->number, i);
    HRESULT status = rsca_call_report(which, text, (size_t)size);
    if (status != S_OK)
      return status;
    call_reports(self);
  }
  return S_OK;
}

static void poll_for_cancel(const call *self, const rsca_call *which) {
  for (unsigned i = 0; i < 50 * self->parameter && !rsca_call_cancelled(which); i++)
    (void)sched_yield();
}

/* From here on it is somebody else's. */
static HRESULT leave_pending(queue *where, call *self, rsca_call *which) {
  history_add(&self->past, LEFT_PENDING, 0);
  self->pending = which;
  leave(where, self);
  return E_PENDING;
}

static HRESULT act(void *user, rsca_call *which, const char *args, size_t size) {
  const native_user *registered = user;
  if (args[0] == '0') /* of a script, which looks after it itself */
    return rsca_call_report(which, args, size);
  call *self = call_of_args(args, size);
  if (self->of != registered->of || self->what != registered->what)
    model_broken(self, "another action runs for it");
  call_has_id(self, rsca_call_id(which));
  call_starts(self);
  clients_misbehave(self, IN_ACTION);
  switch (self->what) {
  case CHOSEN: {
    HRESULT status = rsca_call_report(which, args, size);
    return FAILED(status) ? status : CHOSEN_STATUS;
  }
  case FAIL: {
    /* A message is reported like any response: a registration hears it as one. */
    if (call_is_registration(self))
      return FAIL_STATUS;
    HRESULT status = rsca_call_report(which, args, size);
    return FAILED(status) ? status : FAIL_STATUS;
  }
  case SILENT:
    return S_OK;
  case COUNT:
    return count(self, which);
  case LATE:
    return leave_pending(&late, self, which);
  case NEVER:
    return leave_pending(&held, self, which);
  case POLL:
    poll_for_cancel(self, which);
    return S_OK;
  case GATE:
    actions_wait_at_gate(self);
    return rsca_call_report(which, args, size);
  default:
    return rsca_call_report(which, args, size);
  }
}

/* ---- Registering ---- */

static void free_user(void *user) {
  life *of = ((native_user *)user)->of;
  (void)atomic_fetch_add(&of->freed, 1);
}

static HRESULT register_one(life *of, const char *name, behaviour what) {
  of->users[what] = (native_user){of, what};
  (void)atomic_fetch_add(&of->registered, 1);
  HRESULT status = rsca_manager_register(of->manager, name, "a test's", act, &of->users[what], free_user);
  if (FAILED(status))
    (void)atomic_fetch_sub(&of->registered, 1);
  return status;
}

void actions_register(life *of) {
  char name[16];
  memory_calm();
  for (unsigned i = 0; i < BEHAVIOURS; i++) {
    if (!behaviour_is_native((behaviour)i))
      continue;
    (void)snprintf(name, sizeof name, "n.%s", behaviour_name((behaviour)i));
    if (register_one(of, name, (behaviour)i) != S_OK)
      model_broken_life(of, "no action can be registered");
  }
  of->users[BEHAVIOURS] = (native_user){of, BEHAVIOURS};
  memory_uncalm();
}

const char *actions_dynamic_name(unsigned number) {
  static const char *const names[DYNAMIC_NAMES] = {"x.0", "x.1", "x.2", "x.3"};
  return names[number % DYNAMIC_NAMES];
}

void actions_register_dynamic(chance *luck, life *of) {
  const char *name = actions_dynamic_name(chance_below(luck, DYNAMIC_NAMES));
  HRESULT status;
  if (chance_one_in(luck, 3)) {
    status = rsca_manager_unregister(of->manager, name);
    if (status == RSCA_E_NOT_FOUND)
      status = S_OK;
  } else {
    (void)atomic_fetch_add(&of->registered, 1);
    status = rsca_manager_register(of->manager, name, NULL, act, &of->users[BEHAVIOURS], free_user);
    if (FAILED(status))
      (void)atomic_fetch_sub(&of->registered, 1);
  }
  if (status != S_OK && !(status == RSCA_E_SHUTDOWN_IN_PROGRESS && life_allows(of, MAY_SHUT)) &&
      !(status == E_OUTOFMEMORY && memory_has_failed()))
    model_broken_life(of, "registering or unregistering %s was answered 0x%08x", name, (unsigned)status);
}
