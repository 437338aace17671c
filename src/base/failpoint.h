#pragma once
/*
 * failpoint - places where a test build can be told to die, stall or fail
 *
 * ARGON_FAIL="name=action[:count],…" with the actions kill (SIGKILL of this process), error (the
 * call site takes its failure path), sleep-MS. With a count only the count-th pass acts. In builds
 * without -Dfailpoints=true FAILPOINT() is 0 and leaves no code.
 */
#ifdef ARGON_FAILPOINTS
/** failpoint() - act as ARGON_FAIL says; Return: 1 when the call site is to fail, else 0 */
int failpoint(const char *name);
#define FAILPOINT(name) failpoint(name)
#else
#define FAILPOINT(name) 0
#endif
