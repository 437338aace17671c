#pragma once
/*
 * log_relay - the services' own lines on their way to log.queue
 *
 * log_relay_sink() is what log_set_sink() gets: it takes a copy and returns at once, whatever the
 * bus does. Lines wait in a bounded queue; when it is full the oldest go, and one line says how
 * many went.
 */
#include "base/log.h"

struct bus;
struct error;
struct log_relay;

/** log_relay_open() - start its thread; the bus is borrowed */
int log_relay_open(struct log_relay **ret, struct bus *bus, struct error *err);
/** log_relay_sink() - a log_sink; data is the relay */
void log_relay_sink(void *data, enum log_severity severity, const struct log_context *about,
                    const char *message);
/** log_relay_close() - publish what waits (for at most 2 s); take it away as the sink before */
void log_relay_close(struct log_relay *relay);
