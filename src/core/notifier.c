#include "notifier.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fork.h"
#include "thread.h"

void rsci_notifier_init(rsci_notifier *notifier) {
  atomic_init(&notifier->woken_on, -1);
  atomic_init(&notifier->fd, -1);
  atomic_init(&notifier->watched, false);
  atomic_init(&notifier->waiting, 0);
  atomic_init(&notifier->raised, false);
  atomic_init(&notifier->forks, rsci_forks());
}

void rsci_notifier_fini(rsci_notifier *notifier) {
  int fd = atomic_exchange(&notifier->fd, -1);
  if (fd >= 0)
    (void)close(fd);
}

/* A signal that is never sent, as nothing makes the descriptor asynchronous: it stays with what the number stands for,
 * and so tells whether that is still ours. */
enum { MARK = SIGURG };

static int make_fd(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd >= 0)
    (void)fcntl(fd, F_SETSIG, MARK);
  return fd;
}

/* In the child of a fork: what it inherited is shared with its parent, whose wake-ups it would steal. It is given one
 * of its own, under the same number, which loops may be watching; but not where it has closed that, as daemons do, and
 * it may stand for something else now. */
static void leave_parent(rsci_notifier *notifier) {
  int inherited = atomic_load(&notifier->fd);
  if (inherited < 0)
    return;
  int fd = make_fd();
  if (fd >= 0 && fcntl(inherited, F_GETSIG) == MARK && dup3(fd, inherited, O_CLOEXEC) == inherited) {
    (void)close(fd);
    fd = inherited;
  }
  atomic_store(&notifier->fd, fd);
  if (fd < 0)
    atomic_store(&notifier->watched, false);
  /* Readable whatever there was: somebody should look. */
  const uint64_t one = 1;
  atomic_store(&notifier->raised, fd >= 0 && write(fd, &one, sizeof one) == (ssize_t)sizeof one);
}

static void check_process(rsci_notifier *notifier) {
  unsigned forks = rsci_forks();
  if (atomic_load_explicit(&notifier->forks, memory_order_relaxed) != forks &&
      atomic_exchange(&notifier->forks, forks) != forks)
    leave_parent(notifier);
}

int rsci_notifier_watch(rsci_notifier *notifier) {
  check_process(notifier);
  int fd = atomic_load(&notifier->fd);
  if (fd < 0) {
    fd = make_fd();
    atomic_store(&notifier->fd, fd);
  }
  if (fd >= 0)
    atomic_store(&notifier->watched, true);
  return fd;
}

void rsci_notifier_raise(rsci_notifier *notifier) {
  if (atomic_load(&notifier->waiting)) {
    atomic_store_explicit(&notifier->woken_on, sched_getcpu(), memory_order_relaxed);
    if (atomic_exchange(&notifier->waiting, 0)) /* whoever took the wait back wakes: the others would wake nobody */
      rsci_thread_wake(&notifier->waiting);
  }
  if (!atomic_load(&notifier->watched))
    return;
  check_process(notifier);
  if (!atomic_exchange(&notifier->raised, true)) {
    const uint64_t one = 1;
    /* A counter that is full is readable as well, so the result does not matter. */
    ssize_t written = write(atomic_load(&notifier->fd), &one, sizeof one);
    (void)written;
  }
}

void rsci_notifier_clear(rsci_notifier *notifier) {
  check_process(notifier);
  if (!atomic_load_explicit(&notifier->raised, memory_order_relaxed))
    return;
  /* Read first, then lower the flag: a raise in between skips its write, but what it announces was published before
   * and is found by the look that follows. The other order could swallow a write and leave the flag up for ever. Where
   * nothing was to be read, a raise is between its flag and its write: the flag stays up for what it will write. */
  uint64_t count;
  if (read(atomic_load(&notifier->fd), &count, sizeof count) == (ssize_t)sizeof count)
    atomic_store(&notifier->raised, false);
}

void rsci_notifier_prepare(rsci_notifier *notifier) {
  atomic_store_explicit(&notifier->woken_on, -1, memory_order_relaxed);
  atomic_store(&notifier->waiting, 1);
}

void rsci_notifier_abandon(rsci_notifier *notifier) {
  atomic_store(&notifier->waiting, 0);
}

bool rsci_notifier_is_shared(rsci_notifier *notifier) {
  return atomic_load_explicit(&notifier->woken_on, memory_order_relaxed) == sched_getcpu();
}

bool rsci_notifier_wait(rsci_notifier *notifier, uint64_t until_ns) {
  bool slept = rsci_thread_sleep(&notifier->waiting, 1, until_ns);
  atomic_store(&notifier->waiting, 0);
  return slept;
}
