#pragma once
/*
 * banned - functions that do not compile here; included last in every .c
 *
 * Each has a safer sibling: str_*() for building text, parse_*() for numbers, clock_*() for time,
 * process_run() for programs.
 */
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef gmtime
#undef localtime
#undef ctime
#undef system
#undef popen
#undef tmpnam
#undef mktemp
#define strcpy strcpy_is_banned_use_str
#define strcat strcat_is_banned_use_str
#define strncpy strncpy_is_banned_use_str
#define strncat strncat_is_banned_use_str
#define sprintf sprintf_is_banned_use_str_printf
#define vsprintf vsprintf_is_banned_use_str_vprintf
#define strtok strtok_is_banned
#define atoi atoi_is_banned_use_parse_int
#define atol atol_is_banned_use_parse_int
#define gmtime gmtime_is_banned_use_gmtime_r
#define localtime localtime_is_banned_use_localtime_r
#define ctime ctime_is_banned
#define system system_is_banned_use_process_run
#define popen popen_is_banned_use_process_run
#define tmpnam tmpnam_is_banned
#define mktemp mktemp_is_banned
