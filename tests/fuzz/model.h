/*
 * The model: what the contract promises about every call, written down call by call.
 *
 * Each call that is asked for has a record. Whoever does something that lets the call end otherwise than its action
 * would says so in the record, or in that of its manager, before doing it; its callback then tells how it ended. What
 * the contract does not allow stops the program, with the seed and the call's history.
 *
 * Provides: model_*, call, life
 * Uses:     chance, memory
 * Threads:  any, unless it says otherwise
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rsca/manager.h>

#include "chance.h"

/* ---- What has happened ---- */

typedef enum deed {
  ASKED,
  ACCEPTED,
  REFUSED,
  STARTED,
  REPORTED,
  LEFT_PENDING,
  FINISHED,
  TOLD_RESPONSE,
  TOLD_END,
  CANCEL_ASKED,
  CANCEL_ANSWERED,
  UNREGISTER_ASKED,
  UNREGISTER_ANSWERED,
  RESPONSE_REFUSED,
  REFERENCE_TAKEN,
  REFERENCE_GIVEN,
  SHUTDOWN_ASKED,
  SHUTDOWN_ANSWERED,
  PUBLISHED,
  TAKEN_AWAY,
  STATE_CLOSING,
  STATE_CLOSED,
  LAST_OF_HOST
} deed;

enum { HISTORY_SIZE = 16 };

/* The last few; writing needs no lock, and reading is for when it is over. */
typedef struct history {
  atomic_uint count;
  _Atomic uint64_t when_ns[HISTORY_SIZE];
  _Atomic uint64_t what[HISTORY_SIZE]; /* deed, thread, value */
} history;

void history_add(history *self, deed what, HRESULT value);

/* ---- Actions ---- */

/* What an action does. Each is there in C, in Lua or both, as "n.NAME" and "l.NAME". */
typedef enum behaviour {
  ECHO,   /* answers with its arguments */
  CHOSEN, /* the same, with a success status of its own */
  FAIL,   /* fails with a status of its own */
  SILENT, /* no response */
  COUNT,  /* reports several times */
  LATE,   /* reports and ends on another thread */
  NEVER,  /* ends when its manager is shut down, or at the very end */
  GATE,   /* blocks until another thread lets it go on */
  POLL,   /* runs until it is told to stop, for a while */
  RAISE,
  BAD,   /* returns what it may not */
  SLEEP, /* for a moment */
  YIELD,
  DOZE,  /* for ever */
  CLOSE, /* the same, with a clean-up */
  SHORT, /* sleeps longer than its own limit, or not */
  LOOP,  /* computes for ever, with a limit of its own */
  STUBBORN,
  EAT,    /* memory */
  AWAIT,  /* another */
  STREAM, /* iterates over another's responses */
  BEHAVIOURS
} behaviour;

enum { CHOSEN_STATUS = 7, OWN_LIMIT_MS = 10 };
#define FAIL_STATUS ((HRESULT)0x80004004)

bool behaviour_is_native(behaviour what);
bool behaviour_is_lua(behaviour what);
const char *behaviour_name(behaviour what);

/* ---- Managers ---- */

/* How what happens to a call may let it end otherwise. */
enum {
  MAY_CANCEL = 1,     /* cancelled, cut, or refused by its callback */
  MAY_UNREGISTER = 2, /* its registration was ended */
  MAY_DISCONNECT = 4, /* its Lua state was closed, or its worker held up */
  MAY_SHUT = 8        /* no call is accepted any more */
};

typedef enum life_kind { STEPPED, STEPPED_LUA, POOL, POOL_LUA, LIFE_KINDS } life_kind;

enum { RECENT = 64, DYNAMIC_NAMES = 4 };

typedef struct life life;

/* What an action in C was registered with. */
typedef struct native_user {
  life *of;
  behaviour what;
} native_user;

/* A manager from its making to its end. */
struct life {
  unsigned number;
  life_kind kind;
  rsca_config config;
  rsca_manager *manager;
  uint64_t limit_ms; /* of its calls; 0: none */
  bool holders;      /* calls may hold references of their own */
  bool blockers;     /* actions may block */
  bool steady;       /* its threads are given all the time that they need to end */
  unsigned lifetime; /* how many calls it is meant for */
  native_user users[BEHAVIOURS + 1];
  atomic_uint may;
  atomic_uint open;  /* asked for and neither refused nor ended */
  atomic_uint asked; /* ever */
  atomic_uint accepted, told;
  atomic_uint failed_callbacks;
  atomic_uint registered, freed;          /* users of actions in C */
  atomic_llong shared_begun, shared_done; /* additions to its shared value */
  atomic_uint recent[RECENT];             /* numbers of calls */
  atomic_uint held;                       /* references that calls hold */
  atomic_bool unrecorded;                 /* it had calls that have no record */
  atomic_bool host_steps;                 /* its host has a reference that somebody may give back in a step */
  history past;
};

life *life_new(void);
bool life_is_pool(const life *self);
bool life_has_lua(const life *self);
void life_allow(life *self, unsigned may);
bool life_allows(const life *self, unsigned may);

/* ---- Calls ---- */

typedef enum call_kind { RUN, RUN_OBJECT, SUBSCRIBE, REGISTER, HEALTH } call_kind;

typedef struct call call;
struct call {
  union {
    ICustomActionResultCallback callback;
    ICustomAction2ResultCallback callback2;
    IHealthStatusCallback health;
  };
  atomic_int references; /* of the object; the first is ours */
  unsigned number;
  life *of;
  call_kind kind;
  behaviour what;
  bool lua;           /* answered by a Lua action */
  bool proxied;       /* a Lua object holds its callback, too */
  unsigned parameter; /* of its action */
  size_t padding;     /* of its arguments */
  uint64_t seed;
  uint64_t asked_ns;
  _Atomic uint64_t id;
  enum { ASKING, WAS_ACCEPTED, WAS_REFUSED } _Atomic answer;
  atomic_uint may;
  atomic_uint starts, reported, responses, ends;
  atomic_bool telling;
  atomic_bool over;        /* its callback has returned from the end */
  atomic_bool holds;       /* a reference to its manager */
  _Atomic HRESULT status;  /* the end's */
  _Atomic HRESULT refused; /* with what it was */

  /* For whoever finishes it. */
  rsca_call *pending;
  call *next_pending;
  bool at_gate, gate_is_open;

  history past;
};

bool call_is_registration(const call *self);

/* NULL: this round has had enough. Its parts are for the caller to fill in. */
call *call_new(life *of, call_kind kind, uint64_t seed);

/* The call of that number; stops the program where there is none. */
call *call_of(unsigned number);

/* Its arguments, with a NUL, as UTF-8 and as UTF-16. `room` is for CALL_ARGS. */
enum { CALL_PADDING = 6000, CALL_ARGS = CALL_PADDING + 32 };
size_t call_args(const call *self, char *room);

/* The call of some arguments, which are as they should be. */
call *call_of_args(const char *args, size_t size);

/* Brackets what asks for it: from here on it may be told, and what the manager answered. asks: whether this is the last
 * one that its manager is meant for. */
bool call_asks(call *self);
void call_answered(call *self, HRESULT status);

void call_starts(call *self);
void call_reports(call *self);

/* A reference to its manager of its own, given back by the end or a refusal at the latest. */
void call_hold(call *self);
void call_unhold(call *self);
void call_has_id(call *self, uint64_t id);

/* Brackets what a callback is told. */
void call_told(call *self, HRESULT status, const void *bytes, size_t size, bool final);
void call_told_end(call *self, bool final);

/* ---- Rounds ---- */

/* All there is between the making of some managers and their end. */
void model_begin(uint64_t seed, unsigned round, unsigned calls, bool memory_fails);

/* Called when everything is over: whether every record says so. Lives that were counted are returned. */
void model_end(void);

bool model_memory_fails(void);
uint64_t model_seed(void);

/* Calls that were asked for and have not ended. */
unsigned model_open(void);

/* Actions in C whose users have not been freed: while there are any, a manager lives. */
unsigned model_users(void);

/* Since the program began. */
uint64_t model_accepted(void);
void model_count_accepted(unsigned more); /* of calls that have no record */
void model_count_end(HRESULT status);
void model_print(void);

/* Stops the program where an ending, or a refusal, never came: the test would prove less than it says. */
void model_expect_all(void);

/* Prints what is known, and stops the program. */
_Noreturn void model_broken(const call *which, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void model_broken_life(const life *which, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the calls that have not ended, and what is known of their managers. */
void model_print_open(void);

uint64_t model_now_ns(void);

#endif
