/*
 * A client of a manager: results that are written down, a result callback that counts its references, an action that
 * does as it is told, and gates for threads.
 *
 * Nothing here asserts: it runs inside the code under test, or on other threads. Tests look at what was written down
 * once it is over.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rsca/manager.h>

/* How a call ended, as its callback heard it. All zero is "nothing heard". */
typedef struct outcome {
  atomic_uint reports; /* read it first; the rest is stable once it is 1 */
  HRESULT status;
  size_t size;
  bool is_null; /* the response was NULL */
  bool final;
  bool on_stack_of_run;    /* a submit was further up this stack */
  unsigned depth;          /* reports further up this stack */
  unsigned held;           /* references that the callback had meanwhile */
  unsigned char bytes[96]; /* the first ones */
  uint64_t hash;           /* of all bytes */
  pthread_t thread;
  void (*inside)(void *user); /* called inside the report, with `user` */
  void *user;
} outcome;

/* The hash of some bytes, as outcome.hash has it. */
uint64_t client_hash(const void *bytes, size_t size);

/* Whether it was told exactly once: `status` and these bytes, NULL and 0 where there are none. */
bool ended_with(const outcome *heard, HRESULT status, const void *bytes, size_t size);

/* Whether it was told exactly once, that status and any bytes but none. */
bool ended_saying_why(const outcome *heard, HRESULT status);

/* rsca_manager_run with an outcome; `id` may be NULL. */
HRESULT submit(rsca_manager *manager, const char *name, const char *args, outcome *heard, uint64_t *id);

/* A result callback whose references are counted: 1 is the test's own. Nothing frees it. */
typedef struct counting_callback {
  ICustomActionResultCallback iface;
  atomic_uint references;
  atomic_uint over_released;
  HRESULT answer; /* of ReportResult */
  outcome heard;
} counting_callback;

void counting_callback_init(counting_callback *callback);

/* Whether the callback is neither held nor was ever called. */
bool untouched(counting_callback *callback);

/* RunCustomAction through the vtable. */
HRESULT submit_to_interface(IPmCustomActions *actions, PCWSTR name, PCWSTR args, counting_callback *callback);

/* An action that writes down how it was called and then does as it is told. */
typedef struct obedient {
  HRESULT status;    /* what it returns */
  const void *bytes; /* what it reports before */
  size_t size;
  bool echo;                                         /* it reports its arguments instead */
  void (*inside)(struct obedient *self, void *user); /* called before it reports */
  void *user;

  atomic_uint runs;
  atomic_uint freed; /* how often free_obedient was called */
  rsca_call *call;   /* of the last run */
  uint64_t id;
  char name[64]; /* of the last run */
  char args[96]; /* the first bytes */
  size_t args_size;
  bool terminated; /* there was a NUL after the arguments */
  HRESULT report_status;
  pthread_t thread;
} obedient;

HRESULT obey(void *user, rsca_call *call, const char *args, size_t size);
void free_obedient(void *user);

/* Registers it with free_obedient. */
HRESULT register_obedient(rsca_manager *manager, const char *name, obedient *action);

/* A manager with this configuration (NULL: none); aborts where there is no memory. */
rsca_manager *make_manager(const rsca_config *config);

/* Steps until there is nothing to do; the number of steps. */
unsigned step_all(rsca_manager *manager);

/* Whether the descriptor is readable now. */
bool is_readable(int fd);

/* Waits as a host does: for the descriptor or the time that the manager says, whatever comes first. */
void wait_as_host(rsca_manager *manager);

/* Runs `body` on a thread of its own and waits for its end. */
void on_another_thread(void *(*body)(void *user), void *user);

/* A gate is closed until it is opened; each opening lets one through. */
typedef sem_t gate;
void gate_init(gate *self);
void gate_open(gate *self);
void gate_pass(gate *self);

#endif
