#include "timers.h"

#include <stdlib.h>

void rsci_timers_fini(rsci_timers *timers) {
  free(timers->heap);
  *timers = (rsci_timers){0};
}

static void put(rsci_timers *timers, size_t place, rsci_timer *timer) {
  timers->heap[place] = timer;
  timer->place = place + 1;
}

/* Moves `timer` from the hole at `place` to where it belongs. */
static void settle(rsci_timers *timers, size_t place, rsci_timer *timer) {
  while (place > 0) {
    size_t parent = (place - 1) / 2;
    if (timers->heap[parent]->due_ns <= timer->due_ns)
      break;
    put(timers, place, timers->heap[parent]);
    place = parent;
  }
  for (;;) {
    size_t child = 2 * place + 1;
    if (child >= timers->count)
      break;
    if (child + 1 < timers->count && timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
      child++;
    if (timer->due_ns <= timers->heap[child]->due_ns)
      break;
    put(timers, place, timers->heap[child]);
    place = child;
  }
  put(timers, place, timer);
}

bool rsci_timers_add(rsci_timers *timers, rsci_timer *timer, uint64_t due_ns) {
  if (timers->count == timers->capacity) {
    size_t capacity = timers->capacity ? 2 * timers->capacity : 16;
    rsci_timer **heap = realloc(timers->heap, capacity * sizeof *heap);
    if (!heap)
      return false;
    timers->heap = heap;
    timers->capacity = capacity;
  }
  timer->due_ns = due_ns;
  timers->count++;
  settle(timers, timers->count - 1, timer);
  return true;
}

void rsci_timers_remove(rsci_timers *timers, rsci_timer *timer) {
  if (timer->place == 0)
    return;
  size_t hole = timer->place - 1;
  timer->place = 0;
  rsci_timer *last = timers->heap[--timers->count];
  if (last != timer)
    settle(timers, hole, last);
}

rsci_timer *rsci_timers_take_due(rsci_timers *timers, uint64_t now_ns) {
  if (timers->count == 0 || timers->heap[0]->due_ns > now_ns)
    return NULL;
  rsci_timer *timer = timers->heap[0];
  rsci_timers_remove(timers, timer);
  return timer;
}

uint64_t rsci_timers_next_ns(const rsci_timers *timers) {
  return timers->count ? timers->heap[0]->due_ns : UINT64_MAX;
}
