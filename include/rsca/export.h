/* What the outside world may call is marked RSCA_API; everything else stays hidden. */
#ifndef RSCA_EXPORT_H
#define RSCA_EXPORT_H

#if defined(RSCA_STATIC)
#define RSCA_API
#elif defined(_WIN32)
#ifdef RSCA_BUILDING
#define RSCA_API __declspec(dllexport)
#else
#define RSCA_API __declspec(dllimport)
#endif
#else
#define RSCA_API __attribute__((visibility("default")))
#endif

#endif
