/*
 * Managers by somebody else: an IPmCustomActions and an IPmCustomActions2 in C++ that know nothing but the interfaces.
 * What one of their actions does is chosen by its name.
 *
 * Provides: foreign_*
 * Uses:     Wpframework.h
 * Threads:  any
 *
 * Numbers in arguments are decimal, statuses hexadecimal. "Here": on the stack of the call; "there": on a thread of its
 * own, once the gate is open.
 *
 * Actions of the first, with what they do with their callback:
 *   now TEXT             report S_OK and TEXT here
 *   later TEXT           the same there
 *   status STATUS TEXT   report that here
 *   bytes COUNT          report COUNT bytes 0, 1, 2, ... here
 *   empty                report S_OK, NULL and 0 here
 *   bad                  report S_OK, NULL and 5 here, then as `now`
 *   twice TEXT           report TEXT here, then "again"
 *   race TEXT            report TEXT twice, there, on two threads
 *   never                nothing at all
 *   never_later          hold it and release it there
 *   keep                 hold it until foreign_let_go
 *   own                  hold it as long as the manager itself is there
 *   refuse STATUS        nothing, and answer STATUS
 *   report_refuse STATUS report S_OK and "refused" here, and answer STATUS
 *   keep_refuse STATUS   hold it until foreign_let_go, and answer STATUS
 *
 * Actions of the second, which report "1", "2", ... COUNT, and then:
 *   stream COUNT [STATUS TEXT]      there: end with S_FALSE or that
 *   stream_now COUNT [STATUS TEXT]  here: the same
 *   abandon COUNT                   there: let go
 *   abandon_now COUNT               here: let go
 *   open COUNT                      here: go on until unregistered, which is answered with S_FALSE there and then;
 *                                   or, if one is refused, end at once
 *   deaf COUNT                      here: the same, but refuse the first unregistering with E_FAIL
 *   restart COUNT [STATUS TEXT]     here: end as `stream_now`, the first time; then go on as `open`
 *   tick                            there: go on reporting until unregistered or refused, then end
 *   after COUNT                     here: end with S_FALSE, report once more, and end once more
 *   flood SIZE                      here: report SIZE bytes until that fails, then end
 *   last TEXT                       here: in the form with four parameters one report, S_OK and final; else as
 *                                   `stream_now 0`
 *   refuse STATUS, keep_refuse STATUS
 *   report_refuse STATUS            here: report once, and answer STATUS
 */
#ifndef FOREIGN_MANAGER_H
#define FOREIGN_MANAGER_H

#include <stdbool.h>
#include <stddef.h>

#include <Wpframework.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Returned (+1). */
IPmCustomActions *foreign_create(void);
IPmCustomActions2 *foreign_create2(void);

int foreign_alive(void); /* managers */
int foreign_held(void);  /* references to callbacks that they or their threads hold */

/* How many names are registered. */
size_t foreign_registered(IPmCustomActions2 *actions);

/* Where it is shut, threads of theirs that start wait. It is open at first. */
void foreign_gate(bool open);

/* Opens the gate and waits until all their threads have ended. */
void foreign_join(void);

/* Calls hook(user) on the stack of the next method of an IPmCustomActions or IPmCustomActions2, once. */
void foreign_on_next_call(void (*hook)(void *user), void *user);

/* Reports to all callbacks that are kept until foreign_let_go. */
void foreign_tell_kept(HRESULT status, const char *text);
void foreign_let_go(void);

/* What ReportResult answered since the last foreign_forget_answers, in order. */
size_t foreign_answers(void);
HRESULT foreign_answer(size_t index);
void foreign_forget_answers(void);

/* Starts afresh, after a test that failed: threads end, callbacks are let go, answers are forgotten. */
void foreign_reset(void);

#ifdef __cplusplus
}
#endif

#endif
