#include "registry.h"

#include <stdlib.h>
#include <string.h>

/* Less than eight bytes: those of one size all differ in it. What is read was not put together in memory before, which
 * the processor would wait for. */
static uint64_t short_word(const char *name, size_t size) {
  if (size >= 4) {
    uint32_t first, last;
    memcpy(&first, name, sizeof first);
    memcpy(&last, name + size - sizeof last, sizeof last);
    return (uint64_t)last << 32 | first;
  }
  if (size == 0)
    return 0;
  const unsigned char *bytes = (const unsigned char *)name;
  return (uint64_t)bytes[0] << 16 | (uint64_t)bytes[size / 2] << 8 | bytes[size - 1];
}

/* Eight bytes a round; names are short, and a table of them is not a target worth attacking: who registers names runs
 * code here anyway. */
static uint64_t hash_name(const char *name, size_t size) {
  uint64_t hash = size * UINT64_C(0x9E3779B97F4A7C15);
  for (;;) {
    uint64_t word;
    bool whole = size >= sizeof word;
    if (whole)
      memcpy(&word, name, sizeof word);
    else
      word = short_word(name, size);
    hash = (hash ^ word) * UINT64_C(0xD6E8FEB86659FD93);
    hash ^= hash >> 32;
    if (!whole)
      return hash;
    name += sizeof word;
    size -= sizeof word;
  }
}

static char *append(char *at, const char *text, size_t size) {
  memcpy(at, text, size);
  return at + size;
}

/* Of the whole of it. */
static size_t bytes_of(size_t name_size, size_t help_size, size_t place_size) {
  return sizeof(rsci_action) + name_size + help_size + place_size;
}

rsci_action *rsci_action_create(rsci_engine *engine, const char *name, const char *help, const char *place,
                                rsci_budget *account) {
  size_t name_size = strlen(name) + 1, help_size = strlen(help) + 1, place_size = strlen(place) + 1;
  size_t size = bytes_of(name_size, help_size, place_size);
  rsci_action *action = rsci_budget_allocate(account, size, size);
  if (!action)
    return NULL;
  *action = (rsci_action){.hash = hash_name(name, name_size - 1), .refs = 1, .engine = engine};
  action->name_size = name_size - 1;
  char *end = append(action->name, name, name_size);
  action->help = end;
  end = append(end, help, help_size);
  action->place = end;
  (void)append(end, place, place_size);
  rsci_engine_hold(engine);
  rsci_budget_hold(account);
  action->account = account;
  return action;
}

void rsci_action_free(rsci_action *action) {
  rsci_engine_release(action->engine);
  rsci_budget_discharge(action->account,
                        bytes_of(action->name_size + 1, strlen(action->help) + 1, strlen(action->place) + 1));
  rsci_budget_release(action->account);
  free(action);
}

void rsci_action_forget(rsci_action *action) {
  action->engine->ops->forget(action->engine, action);
  rsci_action_free(action);
}

static rsci_action **place_of(const rsci_registry *registry, const char *name, size_t size) {
  uint64_t hash = hash_name(name, size);
  rsci_action **place = &registry->buckets[hash & (registry->bucket_count - 1)];
  while (*place && ((*place)->hash != hash || (*place)->name_size != size || memcmp((*place)->name, name, size) != 0))
    place = &(*place)->next;
  return place;
}

rsci_action *rsci_registry_find(const rsci_registry *registry, const char *name, size_t size) {
  return registry->count ? *place_of(registry, name, size) : NULL;
}

bool rsci_registry_reserve(rsci_registry *registry) {
  if (registry->count < registry->bucket_count)
    return true;
  rsci_registry grown = {.bucket_count = registry->bucket_count ? 2 * registry->bucket_count : 8};
  grown.buckets = calloc(grown.bucket_count, sizeof *grown.buckets);
  if (!grown.buckets)
    return false;
  for (rsci_action *action = rsci_registry_take_all(registry), *next; action; action = next) {
    next = action->next;
    rsci_registry_put(&grown, action);
  }
  free(registry->buckets);
  *registry = grown;
  return true;
}

void rsci_registry_put(rsci_registry *registry, rsci_action *action) {
  rsci_action **bucket = &registry->buckets[action->hash & (registry->bucket_count - 1)];
  action->next = *bucket;
  *bucket = action;
  registry->count++;
}

rsci_action *rsci_registry_take(rsci_registry *registry, const char *name, size_t size) {
  if (registry->count == 0)
    return NULL;
  rsci_action **place = place_of(registry, name, size);
  rsci_action *action = *place;
  if (action) {
    *place = action->next;
    registry->count--;
  }
  return action;
}

rsci_action *rsci_registry_take_of(rsci_registry *registry, const rsci_engine *engine) {
  rsci_action *taken = NULL;
  for (size_t i = 0; i < registry->bucket_count; i++) {
    rsci_action **place = &registry->buckets[i];
    while (*place) {
      rsci_action *action = *place;
      if (action->engine != engine) {
        place = &action->next;
        continue;
      }
      *place = action->next;
      action->next = taken;
      taken = action;
      registry->count--;
    }
  }
  return taken;
}

rsci_action *rsci_registry_take_all(rsci_registry *registry) {
  rsci_action *all = NULL;
  for (size_t i = 0; i < registry->bucket_count; i++) {
    for (rsci_action *action = registry->buckets[i], *next; action; action = next) {
      next = action->next;
      action->next = all;
      all = action;
    }
    registry->buckets[i] = NULL;
  }
  registry->count = 0;
  return all;
}

void rsci_registry_copy(const rsci_registry *registry, rsci_action **out) {
  for (size_t i = 0; i < registry->bucket_count; i++)
    for (rsci_action *action = registry->buckets[i]; action; action = action->next)
      *out++ = action;
}

void rsci_registry_fini(rsci_registry *registry) {
  free(registry->buckets);
  *registry = (rsci_registry){0};
}
