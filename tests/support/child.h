/*
 * What the child of a fork does is checked there; a check that fails ends the child, and the test.
 */
#ifndef CHILD_H
#define CHILD_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child, instead of an assertion, which would go on with the parent's next test. */
#define child_expects(condition)                                                                                       \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition);                                    \
      _exit(1);                                                                                                        \
    }                                                                                                                  \
  } while (0)

/* Waits for the child's end; its status, 128 and more for a signal. */
static inline int child_status(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) != child) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs `body` in a child, to its end. */
static inline int in_child(void (*body)(void *user), void *user) {
  (void)fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    body(user);
    exit(0); /* as a program ends: what it holds is looked through for leaks */
  }
  return child < 0 ? -1 : child_status(child);
}

#endif
