/*
 * A model of the ownership table in references_test.c, against the real thing: random operations on managers, proxies,
 * native callbacks and handlers in two states; after each of them every count is what the model says, and in the end
 * nothing is left.
 */
#include <stdio.h>

#include "support.h"

enum { STATES = 2, MANAGERS = 3, CALLBACKS = 2, HANDLERS = 3, STEPS = 250, SEEDS = 60 };

/* What a state has of one native object. */
typedef struct share {
  bool proxy;  /* there is one */
  bool named;  /* and the script still names it */
  int extra;   /* AddRefs of the script */
  bool action; /* a manager's: an action of this state hangs on it */
} share;

typedef struct model_state {
  lua_State *L; /* NULL: closed */
  rsca_manager *own;
  share managers[MANAGERS], callbacks[CALLBACKS];
} model_state;

typedef struct model {
  uint32_t random;
  model_state states[STATES];
  rsca_manager *managers[MANAGERS];
  int manager_refs[MANAGERS]; /* those of this test */
  counting *callbacks[CALLBACKS];
  int callback_refs[CALLBACKS];
  ICustomActionResultCallback *handlers[HANDLERS];
  int handler_refs[HANDLERS];
} model;

static unsigned pick(model *m, unsigned bound) {
  m->random = m->random * 1664525u + 1013904223u;
  return (m->random >> 8) % bound;
}

static int share_refs(const share *s) {
  return s->proxy ? 1 + s->extra : 0;
}

static int expected_manager_refs(const model *m, int i) {
  int refs = m->manager_refs[i];
  for (int s = 0; s < STATES; s++)
    refs += share_refs(&m->states[s].managers[i]);
  return refs;
}

static int expected_callback_refs(const model *m, int i) {
  int refs = m->callback_refs[i];
  for (int s = 0; s < STATES; s++)
    refs += share_refs(&m->states[s].callbacks[i]);
  return refs;
}

static void make_model_manager(model *m, int i) {
  m->managers[i] = make_manager();
  m->manager_refs[i] = 1;
}

static void check(model *m) {
  int alive = 0;
  for (int s = 0; s < STATES; s++)
    alive += m->states[s].L != NULL; /* its own */
  for (int i = 0; i < MANAGERS; i++)
    alive += expected_manager_refs(m, i) > 0;
  assert_int_equal(managers_alive, alive);
  for (int i = 0; i < MANAGERS; i++) {
    if (expected_manager_refs(m, i) == 0)
      make_model_manager(m, i); /* in place of the one that has gone */
    assert_int_equal(manager_refs(m->managers[i]), expected_manager_refs(m, i));
  }
  for (int i = 0; i < CALLBACKS; i++)
    assert_int_equal(counting_refs(m->callbacks[i]), expected_callback_refs(m, i));
}

static void run_format(lua_State *L, const char *format, int i) {
  char code[256];
  /* cppcheck-suppress wrongPrintfScanfArgNum; what a format leaves over does no harm */
  (void)snprintf(code, sizeof code, format, i, i, i);
  run_lua(L, code);
}

static void set_global(lua_State *L, char kind, int i) {
  char name[16];
  (void)snprintf(name, sizeof name, "%c%d", kind, i);
  lua_setglobal(L, name);
}

static void settle(model *m) {
  for (int s = 0; s < STATES; s++)
    if (m->states[s].L)
      run_lua(m->states[s].L, "rsca.loop()");
  for (int i = 0; i < MANAGERS; i++)
    if (m->manager_refs[i] > 0)
      step_all(m->managers[i]);
}

/* Full collections: what the scripts do not name any more goes, unless the state has a reason to keep it. */
static void collect_all(model *m) {
  settle(m);
  for (int s = 0; s < STATES; s++)
    if (m->states[s].L)
      collect(m->states[s].L);
  settle(m);
  for (int s = 0; s < STATES; s++) {
    model_state *state = &m->states[s];
    for (int i = 0; i < CALLBACKS; i++)
      if (!state->callbacks[i].named)
        state->callbacks[i] = (share){0};
    for (int i = 0; i < MANAGERS; i++) {
      share *own = &state->managers[i];
      bool others = expected_manager_refs(m, i) > share_refs(own);
      if (own->proxy && !own->named && !(own->action && others))
        *own = (share){0};
    }
  }
}

static void close_state(model *m, model_state *state) {
  lua_close(state->L);
  state->L = NULL;
  assert_int_equal(rsca_manager_release(state->own), 0);
  memset(state->managers, 0, sizeof state->managers);
  memset(state->callbacks, 0, sizeof state->callbacks);
  settle(m);
}

static void open_model_state(model_state *state) {
  state->own = make_manager();
  state->L = open_state(state->own);
}

static void operate_on_manager(model *m, model_state *state, int i) {
  share *mine = &state->managers[i];
  switch (pick(m, 8)) {
  case 0: /* native code takes a reference: from one it has, or from the script */
    if (mine->named) {
      rsca_manager *manager;
      run_format(state->L, "return m%d", i);
      assert_int_equal(rsca_lua_to_manager(state->L, -1, &manager), S_OK);
      assert_ptr_equal(manager, m->managers[i]);
      lua_pop(state->L, 1);
      m->manager_refs[i]++;
    } else if (m->manager_refs[i] > 0) {
      (void)rsca_manager_add_ref(m->managers[i]);
      m->manager_refs[i]++;
    }
    break;
  case 1:
    if (m->manager_refs[i] > 0) {
      m->manager_refs[i]--;
      assert_int_equal(rsca_manager_release(m->managers[i]), expected_manager_refs(m, i));
    }
    break;
  case 2:
    if (m->manager_refs[i] == 0)
      break;
    assert_int_equal(rsca_lua_push_manager(state->L, m->managers[i]), S_OK);
    set_global(state->L, 'm', i);
    mine->proxy = mine->named = true;
    break;
  case 3:
    if (mine->named) {
      run_format(state->L, "m%d:AddRef()", i);
      mine->extra++;
    }
    break;
  case 4:
    if (mine->named) {
      run_format(state->L, "m%d:Release()", i);
      if (mine->extra > 0)
        mine->extra--;
      else {
        *mine = (share){0};
        run_format(state->L, "assert(not pcall(m%d.Release, m%d)); m%d = nil", i);
      }
    }
    break;
  case 5:
    if (mine->named) {
      run_format(state->L, "m%d:close(); m%d:close(); m%d = nil", i);
      *mine = (share){0};
    }
    break;
  case 6:
    if (mine->named) {
      run_format(state->L, "m%d = nil", i);
      mine->named = false;
    }
    break;
  default:
    if (mine->named) {
      /* A name of its own for each state, so that none replaces another's. */
      run_format(state->L,
                 "local m = m%d; local name = 'a' .. tostring(rsca)\n"
                 "m:register(name, { replace = true }, function() return tostring(m) end)\n"
                 "m:run(name, '', function(status) assert(status == 0) end)",
                 i);
      mine->action = true;
      settle(m);
    }
    break;
  }
}

static void operate_on_callback(model *m, model_state *state, int i) {
  share *mine = &state->callbacks[i];
  ICustomActionResultCallback *callback = &m->callbacks[i]->iface;
  switch (pick(m, 6)) {
  case 0:
    assert_int_equal(rsca_lua_push_callback(state->L, callback), S_OK);
    set_global(state->L, 'c', i);
    mine->proxy = mine->named = true;
    break;
  case 1:
    if (mine->named) {
      run_format(state->L, "c%d:AddRef()", i);
      mine->extra++;
    }
    break;
  case 2:
    if (mine->named) {
      run_format(state->L, "c%d:Release()", i);
      if (mine->extra > 0)
        mine->extra--;
      else {
        *mine = (share){0};
        run_format(state->L, "assert(not pcall(c%d.Release, c%d)); c%d = nil", i);
      }
    }
    break;
  case 3:
    if (mine->named) {
      run_format(state->L, "c%d = nil", i);
      mine->named = false;
    }
    break;
  case 4: {
    /* A run holds it until it has been told. */
    int target = (int)pick(m, MANAGERS);
    if (m->manager_refs[target] == 0)
      break;
    IPmCustomActions *actions = rsca_manager_custom_actions(m->managers[target]);
    assert_int_equal(actions->lpVtbl->RunCustomAction(actions, u"native", NULL, callback), S_OK);
    (void)actions->lpVtbl->Release(actions);
    assert_int_equal(counting_refs(m->callbacks[i]), expected_callback_refs(m, i) + 1);
    step_all(m->managers[target]);
    break;
  }
  default:
    if (mine->named)
      run_format(state->L, "rsca.register('e', function() end); rsca.run('e', '', c%d); rsca.loop()", i);
    break;
  }
}

static void operate_on_handler(model *m, model_state *state, int i) {
  ICustomActionResultCallback *handler = m->handlers[i];
  if (!handler) {
    run_lua(state->L, "return function() end");
    assert_int_equal(rsca_lua_to_callback(state->L, -1, &m->handlers[i]), S_OK);
    lua_pop(state->L, 1);
    m->handler_refs[i] = 1;
  } else if (pick(m, 3) == 0) {
    assert_int_equal(handler->lpVtbl->AddRef(handler), ++m->handler_refs[i]);
  } else if (pick(m, 2) == 0) {
    assert_int_equal(handler->lpVtbl->Release(handler), --m->handler_refs[i]);
    if (m->handler_refs[i] == 0)
      m->handlers[i] = NULL;
  } else {
    HRESULT status = handler->lpVtbl->ReportResult(handler, S_OK, NULL, 0);
    assert_true(status == S_OK || status == RPC_E_DISCONNECTED);
    settle(m);
  }
}

static void run_seed(uint32_t seed) {
  model m = {.random = seed};
  for (int s = 0; s < STATES; s++)
    open_model_state(&m.states[s]);
  for (int i = 0; i < MANAGERS; i++)
    make_model_manager(&m, i);
  for (int i = 0; i < CALLBACKS; i++) {
    m.callbacks[i] = counting_create();
    m.callback_refs[i] = 1;
  }
  for (int step = 0; step < STEPS; step++) {
    model_state *state = &m.states[pick(&m, STATES)];
    unsigned what = pick(&m, 100);
    if (what < 45)
      operate_on_manager(&m, state, (int)pick(&m, MANAGERS));
    else if (what < 75)
      operate_on_callback(&m, state, (int)pick(&m, CALLBACKS));
    else if (what < 90)
      operate_on_handler(&m, state, (int)pick(&m, HANDLERS));
    else if (what < 98)
      collect_all(&m);
    else {
      close_state(&m, state);
      open_model_state(state);
    }
    if (what < 90)
      collect_all(&m); /* so that the model need not know when Lua would */
    check(&m);
  }
  for (int i = 0; i < HANDLERS; i++)
    if (m.handlers[i])
      while (m.handler_refs[i]-- > 0)
        (void)m.handlers[i]->lpVtbl->Release(m.handlers[i]);
  for (int s = 0; s < STATES; s++)
    close_state(&m, &m.states[s]);
  check(&m);
  for (int i = 0; i < MANAGERS; i++)
    while (m.manager_refs[i]-- > 0)
      (void)rsca_manager_release(m.managers[i]);
  for (int i = 0; i < CALLBACKS; i++)
    counting_end(m.callbacks[i]);
  assert_int_equal(managers_alive, 0);
  assert_int_equal(counting_alive, 0);
}

static void test_counts_are_what_the_model_says(void **unused) {
  (void)unused;
  for (uint32_t seed = 1; seed <= SEEDS; seed++)
    run_seed(seed);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts_are_what_the_model_says)};
  return cmocka_run_group_tests_name("bridge.ownership", tests, NULL, NULL);
}
