#include "shared.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "refs.h"
#include "thread.h"
#include "timers.h"

/* The bytes of a string: shared by the table and by those who were given the value. They never change. */
typedef struct blob {
  rsci_refs refs;
  char bytes[];
} blob;

typedef struct entry {
  struct entry *next; /* in its bucket, or of those to free */
  uint64_t hash;
  rsci_timer timer; /* set where the value's time ends */
  rsca_value value; /* not nil; a string's blob is held */
  size_t key_size;
  char key[];
} entry;

struct rsci_shared {
  rsci_hash_key hash_key;
  size_t limit_bytes;
  rsci_lock lock; /* Protects what follows; nothing else is locked inside it */
  entry **buckets;
  size_t bucket_count; /* a power of two, or 0 */
  size_t count;
  size_t bytes;             /* what all entries take; never above the limit */
  size_t key_bytes;         /* of all keys */
  rsci_allowance allowance; /* for the bytes */
  rsci_timers timers;
};

enum { FEWEST_BUCKETS = 16 };

/* How many values whose time is over an operation gives back: more than it can add, so they can't pile up. */
enum { SWEPT_AT_ONCE = 4 };

/* An entry, its share of the buckets, and its place among the timers. */
#define ENTRY_BYTES (sizeof(entry) + 2 * sizeof(void *))
const size_t rsci_shared_key_bytes = ENTRY_BYTES, rsci_shared_string_bytes = sizeof(blob);

/* ---- Values ---- */

static void release_blob(void *held) {
  blob *of_string = held;
  if (of_string && rsci_refs_drop(&of_string->refs) == 0)
    free(of_string);
}

void rsca_value_release(rsca_value *value) {
  if (!value)
    return;
  void *held = value->held;
  *value = rsca_value_nil();
  release_blob(held);
}

static rsca_value hold(const rsca_value *value) {
  if (value->held)
    (void)rsci_refs_add(&((blob *)value->held)->refs);
  return *value;
}

/* Copies a value of the caller's into one that holds its bytes. False: out of memory. */
static bool copy_value(const rsca_value *value, rsca_value *out) {
  *out = *value;
  out->held = NULL;
  if (value->kind != RSCA_STRING)
    return true;
  blob *copy = value->size <= SIZE_MAX - sizeof *copy ? malloc(sizeof *copy + value->size) : NULL;
  if (!copy)
    return false;
  rsci_refs_init(&copy->refs);
  if (value->size > 0)
    memcpy(copy->bytes, value->bytes, value->size);
  out->bytes = copy->bytes;
  out->held = copy;
  return true;
}

static size_t bytes_of(const rsca_value *value) {
  return value->kind == RSCA_STRING ? sizeof(blob) + value->size : 0;
}

/* As Lua does it: exactly, no integer is rounded. */
static bool integer_is_float(int64_t integer, double number) {
  const double limit = 9223372036854775808.0; /* 2^63 */
  return number >= -limit && number < limit && (double)(int64_t)number == number && (int64_t)number == integer;
}

static bool is_equal(const rsca_value *a, const rsca_value *b) {
  if (a->kind == RSCA_INTEGER && b->kind == RSCA_FLOAT)
    return integer_is_float(a->integer, b->number);
  if (a->kind == RSCA_FLOAT && b->kind == RSCA_INTEGER)
    return integer_is_float(b->integer, a->number);
  if (a->kind != b->kind)
    return false;
  switch (a->kind) {
  case RSCA_NIL:
    return true;
  case RSCA_BOOLEAN:
    return a->boolean == b->boolean;
  case RSCA_INTEGER:
    return a->integer == b->integer;
  case RSCA_FLOAT: /* whoever waits for a chance to replace NaN shall get it */
    return a->number == b->number || (isnan(a->number) && isnan(b->number));
  case RSCA_STRING:
    return a->size == b->size && (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
  }
  return false;
}

static bool is_number(const rsca_value *value) {
  return value->kind == RSCA_INTEGER || value->kind == RSCA_FLOAT;
}

static double to_float(const rsca_value *value) {
  return value->kind == RSCA_INTEGER ? (double)value->integer : value->number;
}

static rsca_value sum_of(const rsca_value *a, const rsca_value *b) {
  if (a->kind == RSCA_INTEGER && b->kind == RSCA_INTEGER)
    return rsca_value_integer((int64_t)((uint64_t)a->integer + (uint64_t)b->integer));
  return rsca_value_float(to_float(a) + to_float(b));
}

/* ---- Life ---- */

rsci_shared *rsci_shared_create(size_t limit_bytes, rsci_budget *account) {
  rsci_shared *shared = calloc(1, sizeof *shared);
  if (shared && !rsci_lock_init(&shared->lock)) {
    free(shared);
    return NULL;
  }
  if (shared) {
    shared->hash_key = rsci_hash_key_create();
    shared->limit_bytes = limit_bytes;
    shared->allowance = rsci_allowance_of(account);
  }
  return shared;
}

/* A list by `next`. */
static void free_entries(entry *dead) {
  while (dead) {
    entry *next = dead->next;
    release_blob(dead->value.held);
    free(dead);
    dead = next;
  }
}

void rsci_shared_destroy(rsci_shared *shared) {
  if (!shared)
    return;
  for (size_t i = 0; i < shared->bucket_count; i++)
    free_entries(shared->buckets[i]);
  free(shared->buckets);
  rsci_timers_fini(&shared->timers);
  rsci_allowance_end(&shared->allowance);
  rsci_lock_fini(&shared->lock);
  free(shared);
}

/* ---- An operation: everything from here on has the lock ---- */

typedef struct operation {
  rsci_shared *shared;
  rsci_bytes key;
  uint64_t hash;
  uint64_t now_ns; /* one moment for all of it */
  entry *found;    /* under the key; NULL: nothing is there */
  entry *dead;     /* to be freed without the lock */
} operation;

static entry **bucket_of(const rsci_shared *shared, uint64_t hash) {
  return &shared->buckets[hash & (shared->bucket_count - 1)];
}

/* False: out of memory, and nothing changed. */
static bool resize(rsci_shared *shared, size_t bucket_count) {
  entry **buckets = calloc(bucket_count, sizeof *buckets);
  if (!buckets)
    return false;
  entry **old = shared->buckets;
  size_t old_count = shared->bucket_count;
  shared->buckets = buckets;
  shared->bucket_count = bucket_count;
  for (size_t i = 0; i < old_count; i++) {
    for (entry *each = old[i], *next; each; each = next) {
      next = each->next;
      entry **bucket = bucket_of(shared, each->hash);
      each->next = *bucket;
      *bucket = each;
    }
  }
  free(old);
  return true;
}

/* The one at `place` is not there any more. */
static void take_out(operation *op, entry **place) {
  rsci_shared *shared = op->shared;
  entry *gone = *place;
  *place = gone->next;
  rsci_timers_remove(&shared->timers, &gone->timer);
  shared->count--;
  shared->bytes -= ENTRY_BYTES + gone->key_size + bytes_of(&gone->value);
  shared->key_bytes -= gone->key_size;
  (void)rsci_allowance_fit(&shared->allowance, shared->bytes);
  gone->next = op->dead;
  op->dead = gone;
  if (shared->bucket_count > FEWEST_BUCKETS && shared->count < shared->bucket_count / 8)
    (void)resize(shared, shared->bucket_count / 2);
}

static void take_out_entry(operation *op, const entry *gone) {
  entry **place = bucket_of(op->shared, gone->hash);
  while (*place != gone)
    place = &(*place)->next;
  take_out(op, place);
}

/* Gives back values whose time is over, the oldest first, at most `most`. */
static void sweep(operation *op, size_t most) {
  rsci_timer *due;
  while (most-- > 0 && (due = rsci_timers_take_due(&op->shared->timers, op->now_ns)) != NULL)
    take_out_entry(op, (entry *)((char *)due - offsetof(entry, timer)));
}

static entry *find(operation *op) {
  rsci_shared *shared = op->shared;
  if (shared->count == 0)
    return NULL;
  entry **place = bucket_of(shared, op->hash);
  while (*place && ((*place)->hash != op->hash || (*place)->key_size != op->key.size ||
                    memcmp((*place)->key, op->key.data, op->key.size) != 0))
    place = &(*place)->next;
  entry *found = *place;
  if (found && found->timer.place > 0 && found->timer.due_ns <= op->now_ns) {
    take_out(op, place);
    found = NULL;
  }
  return found;
}

/* Takes the lock, for an operation on that key. */
static void begin(operation *op, rsci_shared *shared, rsci_bytes key) {
  *op = (operation){.shared = shared, .key = key};
  op->hash = rsci_hash(&shared->hash_key, key.data, key.size);
  rsci_lock_take(&shared->lock);
  /* With the lock: time may not go back from one operation to the next. */
  op->now_ns = rsci_now_ns();
  op->found = find(op);
  sweep(op, SWEPT_AT_ONCE);
}

/* Leaves the lock, and only then frees. */
static void end(operation *op) {
  rsci_lock_leave(&op->shared->lock);
  free_entries(op->dead);
}

/* Whether that many bytes more may be taken. What is under the key stays: its time is not over. */
static bool make_room(operation *op, size_t more) {
  rsci_shared *shared = op->shared;
  if (more > shared->limit_bytes - shared->bytes)
    sweep(op, SIZE_MAX);
  return more <= shared->limit_bytes - shared->bytes && rsci_allowance_fit(&shared->allowance, shared->bytes + more);
}

/* An entry for the key, with no value yet. NULL: out of memory. */
static entry *create_entry(operation *op) {
  rsci_shared *shared = op->shared;
  if (shared->count >= shared->bucket_count) {
    size_t wanted = shared->bucket_count ? 2 * shared->bucket_count : FEWEST_BUCKETS;
    if (!resize(shared, wanted) && shared->bucket_count == 0)
      return NULL;
  }
  entry *made = malloc(sizeof *made + op->key.size);
  if (!made)
    return NULL;
  *made = (entry){.hash = op->hash, .key_size = op->key.size};
  memcpy(made->key, op->key.data, op->key.size);
  return made;
}

/* False: out of memory, and nothing changed. */
static bool set_time(operation *op, entry *of, uint64_t lifetime_ns) {
  rsci_timers *timers = &op->shared->timers;
  bool forever = lifetime_ns >= UINT64_MAX - op->now_ns;
  if (forever || of->timer.place > 0)
    rsci_timers_remove(timers, &of->timer); /* which leaves a place for the next */
  return forever || rsci_timers_add(timers, &of->timer, op->now_ns + lifetime_ns);
}

/* Puts `*value`, which is not nil and holds its bytes, under the key; on S_OK `*value` is what was there before. Either
 * way the caller releases it, without the lock. */
static HRESULT put(operation *op, rsca_value *value, uint64_t lifetime_ns) {
  rsci_shared *shared = op->shared;
  size_t before = op->found ? ENTRY_BYTES + op->key.size + bytes_of(&op->found->value) : 0;
  size_t after = ENTRY_BYTES + bytes_of(value); /* allocated, and so far from SIZE_MAX */
  if (after > SIZE_MAX - op->key.size)
    return E_OUTOFMEMORY;
  after += op->key.size;
  if (after > before && !make_room(op, after - before))
    return E_OUTOFMEMORY;
  entry *at = op->found ? op->found : create_entry(op);
  if (!at)
    return E_OUTOFMEMORY;
  if (!set_time(op, at, lifetime_ns)) {
    if (!op->found)
      free(at);
    return E_OUTOFMEMORY;
  }
  if (!op->found) {
    entry **bucket = bucket_of(shared, op->hash);
    at->next = *bucket;
    *bucket = at;
    shared->count++;
    shared->key_bytes += op->key.size;
    op->found = at;
  }
  shared->bytes = shared->bytes - before + after;
  rsca_value old = at->value;
  at->value = *value;
  *value = old;
  return S_OK;
}

/* ---- The operations ---- */

HRESULT rsci_shared_get(rsci_shared *shared, rsci_bytes key, rsca_value *out) {
  operation op;
  begin(&op, shared, key);
  *out = op.found ? hold(&op.found->value) : rsca_value_nil();
  end(&op);
  return out->kind == RSCA_NIL ? S_FALSE : S_OK;
}

HRESULT rsci_shared_set(rsci_shared *shared, rsci_bytes key, const rsca_value *value, uint64_t lifetime_ns) {
  if (value->kind == RSCA_NIL) {
    (void)rsci_shared_remove(shared, key);
    return S_OK;
  }
  rsca_value copy;
  if (!copy_value(value, &copy))
    return E_OUTOFMEMORY;
  operation op;
  begin(&op, shared, key);
  HRESULT status = put(&op, &copy, lifetime_ns);
  end(&op);
  rsca_value_release(&copy);
  return status;
}

HRESULT rsci_shared_add(rsci_shared *shared, rsci_bytes key, const rsca_value *amount, uint64_t lifetime_ns,
                        rsca_value *sum) {
  *sum = rsca_value_nil();
  const rsca_value zero = rsca_value_integer(0);
  HRESULT status = S_OK;
  operation op;
  begin(&op, shared, key);
  if (op.found && !is_number(&op.found->value)) {
    status = RSCA_E_INVALID_DATA;
  } else if (op.found) {
    op.found->value = *sum = sum_of(&op.found->value, amount);
  } else {
    rsca_value first = sum_of(&zero, amount);
    status = put(&op, &first, lifetime_ns);
    if (status == S_OK)
      *sum = op.found->value;
  }
  end(&op);
  return status;
}

HRESULT rsci_shared_compare_and_set(rsci_shared *shared, rsci_bytes key, const rsca_value *expected,
                                    const rsca_value *value, uint64_t lifetime_ns, rsca_value *current) {
  *current = rsca_value_nil();
  rsca_value copy;
  if (!copy_value(value, &copy))
    return E_OUTOFMEMORY;
  const rsca_value nil = rsca_value_nil();
  HRESULT status = S_OK;
  operation op;
  begin(&op, shared, key);
  const rsca_value *there = op.found ? &op.found->value : &nil;
  if (!is_equal(there, expected)) {
    *current = hold(there);
    status = S_FALSE;
  } else if (copy.kind != RSCA_NIL) {
    status = put(&op, &copy, lifetime_ns);
  } else if (op.found) {
    take_out_entry(&op, op.found);
  }
  end(&op);
  rsca_value_release(&copy);
  return status;
}

HRESULT rsci_shared_remove(rsci_shared *shared, rsci_bytes key) {
  operation op;
  begin(&op, shared, key);
  HRESULT status = op.found ? S_OK : S_FALSE;
  if (op.found)
    take_out_entry(&op, op.found);
  end(&op);
  return status;
}

/* ---- All of it ---- */

static int compare_keys(const void *a, const void *b) {
  const rsci_bytes *left = a, *right = b;
  int order = memcmp(left->data, right->data, left->size < right->size ? left->size : right->size);
  return order ? order : (left->size > right->size) - (left->size < right->size);
}

/* Lock held. The keys' bytes go behind their places. */
static void copy_keys(const rsci_shared *shared, rsci_keys *out) {
  char *at = (char *)&out->keys[shared->count];
  out->count = 0;
  for (size_t i = 0; i < shared->bucket_count; i++) {
    for (const entry *each = shared->buckets[i]; each; each = each->next) {
      memcpy(at, each->key, each->key_size);
      out->keys[out->count++] = (rsci_bytes){at, each->key_size};
      at += each->key_size;
    }
  }
}

rsci_keys *rsci_shared_keys(rsci_shared *shared) {
  size_t needed = sizeof(rsci_keys);
  for (;;) { /* once for the size, then until it fits */
    size_t capacity = needed;
    rsci_keys *keys = malloc(capacity);
    if (!keys)
      return NULL;
    operation op = {.shared = shared};
    rsci_lock_take(&shared->lock);
    op.now_ns = rsci_now_ns();
    sweep(&op, SIZE_MAX);
    needed = sizeof *keys + shared->count * sizeof keys->keys[0] + shared->key_bytes;
    bool fits = needed <= capacity;
    if (fits)
      copy_keys(shared, keys);
    end(&op);
    if (fits) {
      if (keys->count > 1)
        qsort(keys->keys, keys->count, sizeof keys->keys[0], compare_keys);
      return keys;
    }
    free(keys);
  }
}

size_t rsci_shared_bytes(rsci_shared *shared) {
  rsci_lock_take(&shared->lock);
  size_t bytes = shared->bytes;
  rsci_lock_leave(&shared->lock);
  return bytes;
}
