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

#endif
