/*
 * "Exactly one ending": everything at once, by chance, checked against a model of the contract.
 *
 *   model_test [--seed N] [--calls N] [--first-round N] [--patience SECONDS]
 *
 * Rounds follow each other until so many calls were accepted [200000]. In each, hosts make, step and end managers of
 * all kinds, and clients run, subscribe, cancel, shut down and release; memory fails in some. A round is over when
 * nothing is alive any more: no call, no manager, no thread, no allocation. Without a seed there is a new one, which is
 * printed. The same seed makes the same decisions, as far as threads allow; --first-round begins with a later round.
 * What takes longer than --patience [200] is stuck.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "actions.h"
#include "clients.h"
#include "hosts.h"
#include "memory.h"
#include "model.h"

enum { MOST_CLIENTS = 5, LONG_RUN = 1000000 };

/* The leak sanitizer's, where there is one: it knows what was left by whom. */
void __lsan_do_leak_check(void) __attribute__((weak));

/* ---- Waiting for what has no event of its own ---- */

static void nap(void) {
  const struct timespec shortly = {.tv_sec = 0, .tv_nsec = 500000};
  (void)nanosleep(&shortly, NULL);
}

static unsigned count_threads(void) {
  unsigned count = 0;
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks)
    model_broken(NULL, "/proc/self/task can't be read");
  for (struct dirent *entry; (entry = readdir(tasks)) != NULL;)
    count += entry->d_name[0] != '.';
  (void)closedir(tasks);
  return count;
}

/* ---- The watchdog: a round that does not end is a violation, too ---- */

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t watch_changed = PTHREAD_COND_INITIALIZER;
static uint64_t patience_s = 200; /* for one round */
static uint64_t round_ends_ns;
static bool watch_over;

static void *watch_main(void *unused) {
  (void)pthread_mutex_lock(&watch_lock);
  while (!watch_over) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    (void)pthread_cond_timedwait(&watch_changed, &watch_lock, &until);
    if (!watch_over && model_now_ns() > round_ends_ns) {
      model_print_open();
      model_broken(NULL, "the round does not come to its end: %u calls are open, %u users not freed, %u threads run",
                   model_open(), model_users(), count_threads());
    }
  }
  (void)pthread_mutex_unlock(&watch_lock);
  return unused;
}

static void watch_round(void) {
  (void)pthread_mutex_lock(&watch_lock);
  round_ends_ns = model_now_ns() + patience_s * UINT64_C(1000000000);
  (void)pthread_mutex_unlock(&watch_lock);
}

/* ---- A round ---- */

typedef struct client {
  pthread_t thread;
  uint64_t seed;
  unsigned deeds;
} client;

static void *client_main(void *user) {
  const client *self = user;
  clients_run(self->seed, self->deeds);
  return NULL;
}

static void run_clients(chance *luck, unsigned deeds) {
  client clients[MOST_CLIENTS];
  unsigned count = chance_between(luck, 2, MOST_CLIENTS);
  for (unsigned i = 0; i < count; i++) {
    clients[i].seed = chance_next(luck);
    clients[i].deeds = deeds / count;
    if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
      model_broken(NULL, "no thread for a client");
  }
  for (unsigned i = 0; i < count; i++)
    (void)pthread_join(clients[i].thread, NULL);
}

static void run_round(uint64_t seed, unsigned number, unsigned threads) {
  chance luck = chance_of(seed, number);
  unsigned deeds = chance_one_in(&luck, 2) ? chance_between(&luck, 100, 3000) : chance_between(&luck, 3000, 50000);
  bool memory_fails = chance_one_in(&luck, 3);
  size_t live = memory_live();
  watch_round();
  model_begin(seed, number, deeds + deeds / 8, memory_fails);
  memory_fail_one_in(memory_fails ? chance_between(&luck, 300, 20000) : 0, chance_next(&luck));
  actions_begin(chance_next(&luck));
  hosts_begin(chance_next(&luck));
  run_clients(&luck, deeds);
  hosts_end();
  actions_hurry();
  while (model_open() > 0 || model_users() > 0)
    nap();
  actions_end();
  while (count_threads() > threads)
    nap();
  if (memory_live() != live && __lsan_do_leak_check)
    __lsan_do_leak_check();
  if (memory_live() != live)
    model_broken(NULL, "%zu allocations are left", memory_live() - live);
  memory_fail_one_in(0, 0);
  model_end();
}

/* ---- The program ---- */

static uint64_t number_of(const char *option, const char *text) {
  char *end;
  errno = 0;
  uint64_t value = text ? strtoull(text, &end, 10) : 0;
  if (!text || *text < '0' || *text > '9' || *end || errno) {
    (void)fprintf(stderr, "model_test: %s takes a number\n", option);
    exit(2);
  }
  return value;
}

int main(int argc, char **argv) {
  uint64_t seed = 0, calls = 200000, first = 0;
  bool has_seed = false;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--seed") == 0) {
      seed = number_of(argv[i], argv[i + 1]);
      has_seed = true;
    } else if (strcmp(argv[i], "--calls") == 0) {
      calls = number_of(argv[i], argv[i + 1]);
    } else if (strcmp(argv[i], "--patience") == 0) {
      patience_s = number_of(argv[i], argv[i + 1]);
    } else if (strcmp(argv[i], "--first-round") == 0) {
      first = number_of(argv[i], argv[i + 1]);
    } else {
      (void)fprintf(stderr, "usage: %s [--seed N] [--calls N] [--first-round N] [--patience SECONDS]\n", argv[0]);
      return 2;
    }
  }
  if (!has_seed && getrandom(&seed, sizeof seed / 2, 0) < 0)
    seed = model_now_ns();
  (void)printf("seed %" PRIu64 "\n", seed);
  (void)fflush(stdout);
  watch_round();
  pthread_t watchdog;
  if (pthread_create(&watchdog, NULL, watch_main, NULL) != 0)
    model_broken(NULL, "no thread for the watchdog");
  unsigned threads = count_threads();
  unsigned number = (unsigned)first;
  for (; model_accepted() < calls; number++)
    run_round(seed, number, threads);
  (void)pthread_mutex_lock(&watch_lock);
  watch_over = true;
  (void)pthread_cond_signal(&watch_changed);
  (void)pthread_mutex_unlock(&watch_lock);
  (void)pthread_join(watchdog, NULL);
  (void)printf("%u rounds\n", number - (unsigned)first);
  model_print();
  if (calls >= LONG_RUN)
    model_expect_all();
  return 0;
}
