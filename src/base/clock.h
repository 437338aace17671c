#pragma once
/*
 * clock - monotonic time for every timeout and lease, wall time only for people
 */
#include <stdint.h>

struct str;

/** clock_ms() - monotonic milliseconds; never jumps, means nothing outside this process */
int64_t clock_ms(void);
/** clock_ns() - monotonic nanoseconds */
int64_t clock_ns(void);
/** clock_boot_ms() - like clock_ms(), but goes on while the machine sleeps; same for all processes
 */
int64_t clock_boot_ms(void);
/** wall_ms(), wall_ns() - UTC since 1970; may jump: only for what people read */
int64_t wall_ms(void);
int64_t wall_ns(void);

/** str_add_time_ms() - append RFC 3339 UTC with milliseconds: 2026-09-12T10:15:02.123Z */
void str_add_time_ms(struct str *str, int64_t wall_ms);
/** str_add_time_ns() - the same with nanoseconds */
void str_add_time_ns(struct str *str, int64_t wall_ns);
/** str_add_duration() - append a duration for people: 850ms, 1.9s, 2m14s, 1h02m */
void str_add_duration(struct str *str, int64_t ms);
