/*
 * bench.uv: libuv's pool, which runs C on its threads and tells the loop.
 */
#include "bench.h"

#include <stdbool.h>

#include <uv.h>

typedef struct flight {
  uint64_t ended;
  bool wrong;
} flight;

static void work(uv_work_t *request) {
  (void)request;
}

static void after_work(uv_work_t *request, int status) {
  flight *self = request->data;
  self->wrong |= status != 0;
  self->ended++;
}

/* Runs `count` empty jobs, at most `in_flight` of them at once. Returns an error of libuv's. */
static int fly(uv_loop_t *loop, uv_work_t *requests, uint64_t count, uint64_t in_flight) {
  flight self = {0, false};
  for (uint64_t submitted = 0; submitted < count;) {
    for (uint64_t i = 0; i < in_flight && submitted < count; i++, submitted++) {
      requests[i].data = &self;
      int status = uv_queue_work(loop, &requests[i], work, after_work);
      if (status != 0)
        return status;
    }
    while (self.ended < submitted)
      (void)uv_run(loop, UV_RUN_ONCE);
  }
  return self.wrong ? UV_ECANCELED : 0;
}

/* run(n, in_flight) */
static int uv_run_jobs(lua_State *L) {
  uint64_t count = bench_check_count(L, 1), in_flight = bench_check_count(L, 2);
  uv_work_t *requests = lua_newuserdatauv(L, (size_t)in_flight * sizeof *requests, 0);
  uv_loop_t loop;
  int status = uv_loop_init(&loop);
  if (status == 0) {
    status = fly(&loop, requests, count, in_flight);
    int closed = uv_loop_close(&loop);
    status = status == 0 ? closed : status;
  }
  return status == 0 ? 0 : luaL_error(L, "libuv: %s", uv_strerror(status));
}

static const luaL_Reg functions[] = {{"run", uv_run_jobs}, {NULL, NULL}};

int bench_open_uv(lua_State *L) {
  luaL_newlib(L, functions);
  lua_pushstring(L, uv_version_string());
  lua_setfield(L, -2, "version");
  return 1;
}
