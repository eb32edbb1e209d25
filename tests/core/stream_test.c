/*
 * A stream by itself: bounded in items and bytes, in order, one final at the end, and who is told what on which side.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rsca/status.h>

#include "core/native.h"
#include "core/runner.h"
#include "core/stream.h"

/* The consumer, and the producer that may wait for room: each on a runner of its own. */
static rsci_runner *consumer_runner, *producer_runner;
static rsci_engine *consumer, *producer;

static unsigned arrivals;

static void arrived_run(rsci_task *task) {
  rsci_stream *stream = rsci_stream_of_arrived(task);
  rsci_stream_arrived(stream);
  arrivals++;
  rsci_stream_release(stream);
}

static void arrived_drop(rsci_task *task) {
  rsci_stream_release(rsci_stream_of_arrived(task));
}

static const rsci_task_ops arrived_ops = {arrived_run, arrived_drop};

/* Whoever waits for room. */
static unsigned rooms, room_drops;

static void room_run(rsci_task *task) {
  (void)task;
  rooms++;
}

static void room_drop(rsci_task *task) {
  (void)task;
  room_drops++;
}

static const rsci_task_ops room_ops = {room_run, room_drop};
static rsci_task room;

static int set_up(void **state) {
  (void)state;
  arrivals = rooms = room_drops = 0;
  room = (rsci_task){.ops = &room_ops};
  consumer_runner = rsci_runner_create();
  producer_runner = rsci_runner_create();
  if (!consumer_runner || !producer_runner)
    return -1;
  consumer = rsci_native_create(consumer_runner);
  producer = rsci_native_create(producer_runner);
  return consumer && producer ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  rsci_engine_release(consumer);
  rsci_engine_release(producer);
  rsci_runner_release(consumer_runner);
  rsci_runner_release(producer_runner);
  return 0;
}

static rsci_stream *make_stream(size_t limit, size_t limit_bytes) {
  rsci_stream *stream = rsci_stream_create(consumer, &arrived_ops, (rsci_stream_limits){limit, limit_bytes, NULL});
  assert_non_null(stream);
  return stream;
}

/* How many tasks were run. */
static size_t step(rsci_runner *runner) {
  size_t ran, all = 0;
  while (rsci_runner_step(runner, 0, &ran) && ran > 0)
    all += ran;
  return all;
}

static rsci_stream *make_stream_of(rsci_budget *budget) {
  rsci_stream *stream = rsci_stream_create(consumer, &arrived_ops, (rsci_stream_limits){10, 1 << 20, budget});
  assert_non_null(stream);
  return stream;
}

static HRESULT put(rsci_stream *stream, const char *text) {
  return rsci_stream_put(stream, text, strlen(text), false);
}

static void assert_takes(rsci_stream *stream, const void *bytes, size_t size) {
  rsci_response *response;
  HRESULT status;
  assert_int_equal(rsci_stream_take(stream, &response, &status), RSCI_TAKEN_RESPONSE);
  assert_non_null(response);
  assert_int_equal(status, S_OK);
  assert_int_equal(response->size, size);
  if (size > 0)
    assert_memory_equal(response->bytes, bytes, size);
  free(response);
}

static void assert_takes_nothing(rsci_stream *stream) {
  rsci_response *response = (rsci_response *)stream;
  HRESULT status = E_FAIL;
  assert_int_equal(rsci_stream_take(stream, &response, &status), RSCI_TAKEN_NOTHING);
  assert_null(response);
}

static void assert_takes_final(rsci_stream *stream, HRESULT expected, const char *text) {
  rsci_response *response;
  HRESULT status;
  assert_int_equal(rsci_stream_take(stream, &response, &status), RSCI_TAKEN_FINAL);
  assert_int_equal(status, expected);
  if (text) {
    assert_non_null(response);
    assert_int_equal(response->size, strlen(text));
    assert_memory_equal(response->bytes, text, strlen(text));
    free(response);
  } else {
    assert_null(response);
  }
}

/* ---- Order, bytes, the final ---- */

static void test_responses_come_in_order_with_any_bytes(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  char first[] = "a\0b\xFF";
  assert_takes_nothing(stream);
  assert_int_equal(rsci_stream_put(stream, first, 4, false), S_OK);
  memset(first, '#', sizeof first); /* copied */
  assert_int_equal(rsci_stream_put(stream, NULL, 0, false), S_OK);
  assert_int_equal(put(stream, "third"), S_OK);
  assert_takes(stream, "a\0b\xFF", 4);
  assert_int_equal(put(stream, "fourth"), S_OK);
  assert_takes(stream, NULL, 0);
  assert_takes(stream, "third", 5);
  assert_takes(stream, "fourth", 6);
  assert_takes_nothing(stream);
  rsci_stream_release(stream);
  step(consumer_runner);
}

static void test_final_comes_once_and_after_all_responses(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  char why[] = "why";
  assert_int_equal(put(stream, "1"), S_OK);
  assert_int_equal(put(stream, "2"), S_OK);
  rsci_stream_finish(stream, E_FAIL, why, 3);
  memset(why, '#', sizeof why);
  assert_takes(stream, "1", 1);
  assert_takes(stream, "2", 1);
  assert_takes_final(stream, E_FAIL, "why");
  assert_takes_nothing(stream);
  assert_int_equal(put(stream, "late"), RSCA_E_CANCELLED);
  assert_takes_nothing(stream);
  step(consumer_runner);
  rsci_stream_release(stream);
}

static void test_final_without_bytes(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  rsci_stream_finish(stream, S_FALSE, NULL, 0);
  assert_int_equal(step(consumer_runner), 1);
  assert_takes_final(stream, S_FALSE, NULL);
  assert_takes_nothing(stream);
  rsci_stream_release(stream);
}

/* What was never taken is freed with the stream, the final too. */
static void test_stream_released_with_responses_and_final_inside(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  assert_int_equal(put(stream, "never taken"), S_OK);
  rsci_stream_finish(stream, E_FAIL, "never heard", 11);
  step(consumer_runner);
  rsci_stream_release(stream);
}

/* ---- Bounds ---- */

static void test_bounded_in_items(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(3, 1 << 20);
  for (int i = 0; i < 3; i++)
    assert_int_equal(put(stream, "x"), S_OK);
  for (int i = 0; i < 3; i++)
    assert_int_equal(put(stream, "too many"), RSCA_E_BUSY);
  assert_int_equal(rsci_stream_put(stream, NULL, 0, false), RSCA_E_BUSY);
  assert_takes(stream, "x", 1);
  assert_int_equal(put(stream, "y"), S_OK);
  assert_int_equal(put(stream, "too many"), RSCA_E_BUSY);
  assert_takes(stream, "x", 1);
  assert_takes(stream, "x", 1);
  assert_takes(stream, "y", 1);
  assert_takes_nothing(stream); /* what was refused left nothing behind */
  step(consumer_runner);
  rsci_stream_release(stream);
}

static void test_bounded_in_bytes(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 10);
  assert_int_equal(put(stream, "1234"), S_OK);
  assert_int_equal(put(stream, "1234567"), RSCA_E_BUSY);
  assert_int_equal(put(stream, "123456"), S_OK); /* ten, exactly */
  assert_int_equal(put(stream, "1"), RSCA_E_BUSY);
  assert_int_equal(rsci_stream_put(stream, NULL, 0, false), S_OK);
  assert_takes(stream, "1234", 4);
  assert_int_equal(put(stream, "abcd"), S_OK);
  assert_int_equal(put(stream, "1"), RSCA_E_BUSY);
  assert_takes(stream, "123456", 6);
  assert_takes(stream, NULL, 0);
  assert_takes(stream, "abcd", 4);
  assert_takes_nothing(stream);
  step(consumer_runner);
  rsci_stream_release(stream);
}

static void test_one_response_always_fits(void **state) {
  (void)state;
  static char big[100000];
  rsci_stream *stream = make_stream(1, 1);
  for (int i = 0; i < 3; i++) {
    big[0] = (char)('a' + i);
    assert_int_equal(rsci_stream_put(stream, big, sizeof big, false), S_OK);
    assert_int_equal(put(stream, "x"), RSCA_E_BUSY);
    assert_int_equal(rsci_stream_put(stream, NULL, 0, false), RSCA_E_BUSY);
    assert_takes(stream, big, sizeof big);
  }
  assert_takes_nothing(stream);
  step(consumer_runner);
  rsci_stream_release(stream);
}

/* What an action reported before its end is not held up by a lack of room. */
static void test_forced_response_comes_in_its_place_though_the_stream_is_full(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(1, 1);
  assert_int_equal(put(stream, "1"), S_OK);
  assert_int_equal(put(stream, "no"), RSCA_E_BUSY);
  assert_int_equal(rsci_stream_put(stream, "2", 1, true), S_OK);
  assert_int_equal(rsci_stream_put(stream, "3", 1, true), S_OK);
  rsci_stream_finish(stream, S_FALSE, NULL, 0);
  assert_takes(stream, "1", 1);
  assert_takes(stream, "2", 1);
  assert_takes(stream, "3", 1);
  assert_takes_final(stream, S_FALSE, NULL);
  step(consumer_runner);
  rsci_stream_release(stream);
}

/* ---- Telling the consumer ---- */

static void test_consumer_is_told_once_for_what_came_meanwhile(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  for (int i = 0; i < 100; i++)
    assert_int_equal(put(stream, "x"), S_OK);
  rsci_stream_finish(stream, S_FALSE, NULL, 0);
  assert_int_equal(arrivals, 0); /* never on the stack of a put */
  assert_int_equal(step(consumer_runner), 1);
  assert_int_equal(arrivals, 1);
  rsci_stream_release(stream);
}

static void test_consumer_is_told_again_once_it_has_heard(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  for (unsigned i = 1; i <= 5; i++) {
    assert_int_equal(put(stream, "x"), S_OK);
    step(consumer_runner);
    assert_int_equal(arrivals, i); /* though the ones before still wait */
  }
  rsci_stream_finish(stream, S_FALSE, NULL, 0);
  step(consumer_runner);
  assert_int_equal(arrivals, 6);
  rsci_stream_release(stream);
}

static void test_stream_whose_consumer_has_closed_takes_what_comes_and_frees_it(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(2, 1 << 20);
  assert_int_equal(put(stream, "told"), S_OK);
  rsci_engine_close(consumer);
  assert_int_equal(put(stream, "untold"), S_OK);
  assert_int_equal(put(stream, "full"), RSCA_E_BUSY);
  rsci_stream_finish(stream, E_FAIL, "why", 3);
  assert_int_equal(step(consumer_runner), 0);
  assert_int_equal(arrivals, 0);
  rsci_stream_release(stream);
}

/* ---- Telling the producer ---- */

static void test_there_is_room_at_once_where_nothing_waits(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(4, 1 << 20);
  assert_false(rsci_stream_await_room(stream, producer, &room));
  assert_int_equal(step(producer_runner), 0);
  rsci_stream_release(stream);
}

/* Once per wait, on its own engine, when the stream is half empty. */
static void test_producer_is_told_of_room_once(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(4, 1 << 20);
  for (int round = 0; round < 3; round++) {
    while (put(stream, "x") == S_OK) {
    }
    assert_true(rsci_stream_await_room(stream, producer, &room));
    assert_int_equal(step(producer_runner), 0);
    assert_takes(stream, "x", 1);
    assert_takes(stream, "x", 1);
    assert_int_equal(rooms, (unsigned)round); /* not on the stack of the consumer */
    assert_int_equal(step(producer_runner), 1);
    assert_int_equal(rooms, (unsigned)round + 1);
    assert_int_equal(put(stream, "x"), S_OK);
    assert_takes(stream, "x", 1);
    assert_takes(stream, "x", 1);
    assert_takes(stream, "x", 1);
    assert_int_equal(step(producer_runner), 0);
  }
  step(consumer_runner);
  rsci_stream_release(stream);
}

/* Whatever filled it, and though the one response that waits is larger than half. */
static void test_producer_is_told_of_room_in_bytes(void **state) {
  (void)state;
  static char big[1000];
  rsci_stream *stream = make_stream(256, 100);
  assert_int_equal(rsci_stream_put(stream, big, sizeof big, false), S_OK);
  assert_int_equal(put(stream, "x"), RSCA_E_BUSY);
  assert_true(rsci_stream_await_room(stream, producer, &room));
  assert_takes(stream, big, sizeof big);
  assert_int_equal(step(producer_runner), 1);
  assert_int_equal(put(stream, "x"), S_OK);
  assert_takes(stream, "x", 1);
  /* With the smallest bounds there are, too. */
  rsci_stream *narrow = make_stream(1, 1);
  assert_int_equal(put(narrow, "x"), S_OK);
  assert_int_equal(put(narrow, "y"), RSCA_E_BUSY);
  assert_true(rsci_stream_await_room(narrow, producer, &room));
  assert_takes(narrow, "x", 1);
  assert_int_equal(step(producer_runner), 1);
  assert_int_equal(put(narrow, "y"), S_OK);
  step(consumer_runner);
  rsci_stream_release(narrow);
  rsci_stream_release(stream);
}

static void test_producer_whose_engine_has_closed_is_given_its_task_back(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(1, 1 << 20);
  assert_int_equal(put(stream, "x"), S_OK);
  assert_true(rsci_stream_await_room(stream, producer, &room));
  rsci_engine_close(producer);
  assert_takes(stream, "x", 1);
  assert_int_equal(rooms, 0);
  assert_int_equal(room_drops, 1);
  step(consumer_runner);
  rsci_stream_release(stream);
}

/* ---- A consumer that goes, or wants no more ---- */

static void test_abandoned_stream_drops_what_waits_and_takes_nothing_more(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  assert_int_equal(put(stream, "dropped"), S_OK);
  assert_int_equal(step(consumer_runner), 1);
  rsci_stream_abandon(stream);
  assert_takes_nothing(stream);
  assert_int_equal(put(stream, "x"), RSCA_E_CANCELLED);
  assert_int_equal(rsci_stream_put(stream, "x", 1, true), RSCA_E_CANCELLED);
  rsci_stream_finish(stream, E_FAIL, "why", 3);
  assert_takes_nothing(stream);
  assert_int_equal(step(consumer_runner), 0); /* nobody is told any more */
  rsci_stream_abandon(stream);
  rsci_stream_release(stream);
}

static void test_producer_that_waits_is_told_when_the_stream_is_abandoned(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(1, 1 << 20);
  assert_int_equal(put(stream, "x"), S_OK);
  assert_int_equal(put(stream, "y"), RSCA_E_BUSY);
  assert_true(rsci_stream_await_room(stream, producer, &room));
  rsci_stream_abandon(stream);
  assert_int_equal(step(producer_runner), 1);
  assert_int_equal(rooms, 1);
  assert_int_equal(put(stream, "y"), RSCA_E_CANCELLED);
  assert_false(rsci_stream_await_room(stream, producer, &room));
  rsci_stream_release(stream);
  step(consumer_runner);
}

static void test_refused_stream_takes_no_response_but_gives_the_final(void **state) {
  (void)state;
  rsci_stream *stream = make_stream(256, 1 << 20);
  assert_int_equal(put(stream, "before"), S_OK);
  step(consumer_runner);
  rsci_stream_refuse(stream);
  assert_int_equal(put(stream, "x"), RSCA_E_CANCELLED);
  assert_int_equal(rsci_stream_put(stream, "x", 1, true), RSCA_E_CANCELLED);
  rsci_stream_finish(stream, RSCA_E_CANCELLED, "why", 3);
  assert_int_equal(step(consumer_runner), 1);
  assert_takes(stream, "before", 6);
  assert_takes_final(stream, RSCA_E_CANCELLED, "why");
  rsci_stream_release(stream);
}

/* ---- Two threads ---- */

enum { SENT = 50000, LIMIT = 16 };

typedef struct traffic {
  rsci_stream *stream;
  unsigned busy; /* how often there was no room */
  unsigned taken;
  bool in_order, ended;
  atomic_bool gone; /* the consumer takes no more: the producer was told so */
} traffic;

static void *produce(void *user) {
  traffic *t = user;
  for (unsigned i = 0; i < SENT;) {
    HRESULT status = rsci_stream_put(t->stream, &i, sizeof i, false);
    if (status == S_OK)
      i++;
    if (status == RSCA_E_CANCELLED) {
      atomic_store(&t->gone, true);
      break;
    }
    if (status != RSCA_E_BUSY)
      continue;
    t->busy++;
    unsigned before = rooms;
    if (rsci_stream_await_room(t->stream, producer, &room))
      while (rooms == before)
        if (step(producer_runner) == 0)
          (void)rsci_runner_wait(producer_runner, UINT64_C(1000000000));
  }
  rsci_stream_finish(t->stream, S_FALSE, "end", 3);
  return NULL;
}

/* Takes `most` responses, or all and the final. */
static void consume(traffic *t, unsigned most) {
  t->in_order = true;
  while (t->taken < most) {
    rsci_response *response;
    HRESULT status;
    rsci_taken taken = rsci_stream_take(t->stream, &response, &status);
    if (taken == RSCI_TAKEN_NOTHING) {
      if (step(consumer_runner) == 0)
        (void)rsci_runner_wait(consumer_runner, UINT64_C(1000000000));
      continue;
    }
    if (taken == RSCI_TAKEN_FINAL) {
      t->ended = status == S_FALSE && response && response->size == 3;
      free(response);
      return;
    }
    unsigned number;
    memcpy(&number, response->bytes, sizeof number);
    t->in_order = t->in_order && response->size == sizeof number && number == t->taken;
    t->taken++;
    free(response);
  }
}

static void test_producer_and_consumer_on_two_threads(void **state) {
  (void)state;
  traffic t = {.stream = make_stream(LIMIT, 1 << 20)};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, produce, &t), 0);
  consume(&t, UINT32_MAX);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(t.in_order);
  assert_true(t.ended);
  assert_int_equal(t.taken, SENT);
  step(consumer_runner);
  rsci_stream_release(t.stream);
  print_message("[          ] %u waits for room in %u responses\n", t.busy, (unsigned)SENT);
}

/* The consumer goes at any moment: the producer hears of it, even while it waits. */
static void test_consumer_goes_while_the_producer_is_busy_on_another_thread(void **state) {
  (void)state;
  for (unsigned most = 0; most < 200; most += 7) {
    traffic t = {.stream = make_stream(LIMIT, 1 << 20)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, &t), 0);
    consume(&t, most);
    rsci_stream_abandon(t.stream);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(atomic_load(&t.gone));
    assert_true(t.in_order);
    step(consumer_runner);
    step(producer_runner);
    rsci_stream_release(t.stream);
  }
}

static void test_final_counts_until_it_is_taken_or_nobody_takes_it(void **state) {
  (void)state;
  rsci_budget *budget = rsci_budget_create(1000, NULL);
  assert_non_null(budget);
  rsci_stream *taken = make_stream_of(budget), *abandoned = make_stream_of(budget), *released = make_stream_of(budget);
  rsci_stream_finish(taken, E_FAIL, "why", 3);
  assert_true(rsci_budget_used(budget) >= 3);
  assert_takes_final(taken, E_FAIL, "why");
  assert_int_equal(rsci_budget_used(budget), 0);
  rsci_stream_finish(abandoned, E_FAIL, "why", 3);
  rsci_stream_abandon(abandoned);
  assert_int_equal(rsci_budget_used(budget), 0);
  rsci_stream_finish(released, E_FAIL, "why", 3);
  assert_int_equal(step(consumer_runner), 3);
  rsci_stream_release(taken);
  rsci_stream_release(abandoned);
  rsci_stream_release(released);
  assert_int_equal(rsci_budget_used(budget), 0);
  rsci_budget_release(budget);
}

static void test_final_beyond_the_budget_comes_without_bytes(void **state) {
  (void)state;
  rsci_budget *budget = rsci_budget_create(1000, NULL);
  assert_non_null(budget);
  static const char text[1000];
  rsci_stream *stream = make_stream_of(budget);
  rsci_stream_finish(stream, E_FAIL, text, sizeof text);
  assert_int_equal(rsci_budget_used(budget), 0);
  assert_takes_final(stream, E_FAIL, NULL);
  assert_int_equal(step(consumer_runner), 1);
  rsci_stream_release(stream);
  rsci_budget_release(budget);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      STREAM_TEST(responses_come_in_order_with_any_bytes),
      STREAM_TEST(final_comes_once_and_after_all_responses),
      STREAM_TEST(final_without_bytes),
      STREAM_TEST(stream_released_with_responses_and_final_inside),
      STREAM_TEST(bounded_in_items),
      STREAM_TEST(bounded_in_bytes),
      STREAM_TEST(one_response_always_fits),
      STREAM_TEST(forced_response_comes_in_its_place_though_the_stream_is_full),
      STREAM_TEST(consumer_is_told_once_for_what_came_meanwhile),
      STREAM_TEST(consumer_is_told_again_once_it_has_heard),
      STREAM_TEST(stream_whose_consumer_has_closed_takes_what_comes_and_frees_it),
      STREAM_TEST(there_is_room_at_once_where_nothing_waits),
      STREAM_TEST(producer_is_told_of_room_once),
      STREAM_TEST(producer_is_told_of_room_in_bytes),
      STREAM_TEST(producer_whose_engine_has_closed_is_given_its_task_back),
      STREAM_TEST(abandoned_stream_drops_what_waits_and_takes_nothing_more),
      STREAM_TEST(producer_that_waits_is_told_when_the_stream_is_abandoned),
      STREAM_TEST(refused_stream_takes_no_response_but_gives_the_final),
      STREAM_TEST(final_counts_until_it_is_taken_or_nobody_takes_it),
      STREAM_TEST(final_beyond_the_budget_comes_without_bytes),
      STREAM_TEST(producer_and_consumer_on_two_threads),
      STREAM_TEST(consumer_goes_while_the_producer_is_busy_on_another_thread),
  };
  return cmocka_run_group_tests_name("core.stream", tests, NULL, NULL);
}
