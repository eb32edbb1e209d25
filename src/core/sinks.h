/*
 * The sinks of the C and C++ world: where the results of runs and registrations go that were not started by a script.
 *
 * Provides: rsci_function_sink and its kin
 * Uses:     call
 */
#ifndef RSCI_SINKS_H
#define RSCI_SINKS_H

#include "call.h"

/* For runs, and for registrations. */
extern const rsci_sink_ops rsci_function_sink;        /* fn, object: user */
extern const rsci_sink_ops rsci_function_stream_sink; /* likewise */
extern const rsci_sink_ops rsci_callback_sink;        /* object: ICustomActionResultCallback */
extern const rsci_sink_ops rsci_callback2_sink;       /* object: ICustomAction2ResultCallback */

/* Calls ReportResult in the form that is built; `bytes` is Borrowed, NULL where `size` is 0. */
HRESULT rsci_callback2_report(ICustomAction2ResultCallback *callback, HRESULT status, const void *bytes, size_t size,
                              bool final);

/* Whether that form has words for it: that of the reference page says `final` by the status alone. */
bool rsci_callback2_can_say(HRESULT status, bool final);

#endif
