/* The one place that knows the version; CMake reads it from here. */
#ifndef RSCA_VERSION_H
#define RSCA_VERSION_H

#define RSCA_VERSION_MAJOR 0
#define RSCA_VERSION_MINOR 1
#define RSCA_VERSION_PATCH 0
#define RSCA_VERSION "0.1.0"

#endif
