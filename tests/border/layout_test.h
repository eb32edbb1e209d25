/*
 * What the two halves of the layout test know of each other. Each half implements every interface; each calls the
 * other's objects. A method writes down who was called with what; the caller then compares.
 */
#ifndef LAYOUT_TEST_H
#define LAYOUT_TEST_H

#include <Wpframework.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which interface a call arrived at. */
enum {
  LAYOUT_REFERENCED,
  LAYOUT_RESULT,
  LAYOUT_RESULT2,
  LAYOUT_ACTIONS,
  LAYOUT_ACTIONS2,
  LAYOUT_MANAGER,
  LAYOUT_MONITOR,
  LAYOUT_HEALTH
};

/* Which language's code a call arrived in. */
enum { LAYOUT_MADE_IN_C, LAYOUT_MADE_IN_CPP };

/* One object of each kind, made by one of the languages. Nothing owns them: they are static. */
typedef struct layout_objects {
  int maker;
  IWpfReferencedObject *referenced;
  ICustomActionResultCallback *result;
  ICustomAction2ResultCallback *result2;
  IPmCustomActions *actions;
  IPmCustomActions2 *actions2;
  IProtocolManager *manager;
  IPmHealthAndIdleMonitor *monitor;
  IHealthStatusCallback *health;
} layout_objects;

/* Arguments of a call as it arrived or should have arrived; what a method does not have is NULL or 0. */
#define LAYOUT_ARGUMENTS                                                                                               \
  int which, unsigned slot, const void *self, const void *p0, const void *p1, const void *p2, long long n0,            \
      long long n1, long long n2

/* By the implementer: writes the call down. Returns a status that belongs to this method of this maker alone and has
 * bit 31 set. */
HRESULT layout_arrived(int maker, LAYOUT_ARGUMENTS);

/* By the caller, before its calls: whose objects they are for. */
void layout_calling(int maker);

/* By the caller, after each: the last call that arrived was this one, and `returned` is what it answered. */
void layout_expect(const char *file, int line, HRESULT returned, LAYOUT_ARGUMENTS);

/* Prints and counts a failure. */
void layout_fail(const char *file, int line, const char *what);

/* CALLED(what a call returned, which, slot, self, p0, p1, p2, n0, n1, n2) */
#define CALLED(returned, ...) layout_expect(__FILE__, __LINE__, returned, __VA_ARGS__)
#define CHECK(condition) ((condition) ? (void)0 : layout_fail(__FILE__, __LINE__, #condition))

layout_objects layout_c_objects(void);
PCWSTR layout_c_text(void);
void layout_c_calls(layout_objects objects);
void layout_c_client(void);
int layout_failures(void);

#ifdef __cplusplus
}
#endif

#endif
