#include "base/clock.h"

#include <time.h>

#include "base/str.h"

#include "base/banned.h"

static int64_t read_clock(clockid_t id)
{
        struct timespec now;

        clock_gettime(id, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_ns(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_ms(void)
{
        return clock_ns() / 1000000;
}

int64_t clock_boot_ms(void)
{
        return read_clock(CLOCK_BOOTTIME) / 1000000;
}

int64_t wall_ns(void)
{
        return read_clock(CLOCK_REALTIME);
}

int64_t wall_ms(void)
{
        return wall_ns() / 1000000;
}

static void add_time(struct str *str, int64_t ns, int digits, int64_t unit)
{
        time_t seconds = (time_t)(ns / 1000000000);
        struct tm tm;
        char text[32];

        gmtime_r(&seconds, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        str_add(str, text);
        str_printf(str, ".%0*lldZ", digits, (long long)(ns % 1000000000 / unit));
}

void str_add_time_ms(struct str *str, int64_t ms)
{
        add_time(str, ms * 1000000, 3, 1000000);
}

void str_add_time_ns(struct str *str, int64_t ns)
{
        add_time(str, ns, 9, 1);
}

void str_add_duration(struct str *str, int64_t ms)
{
        long long value = ms < 0 ? 0 : ms;

        if (value < 1000)
                str_printf(str, "%lldms", value);
        else if (value < 60000)
                str_printf(str, "%lld.%llds", value / 1000, value % 1000 / 100);
        else if (value < 3600000)
                str_printf(str, "%lldm%02llds", value / 60000, value % 60000 / 1000);
        else
                str_printf(str, "%lldh%02lldm", value / 3600000, value % 3600000 / 60000);
}
