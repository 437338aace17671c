#pragma once
/*
 * bus_contract - what every bus must do, as cases that run against any adapter
 *
 * The adapter's test program says how to begin anew and how to open; a case may open it again to
 * stand for a restart, or in a child process that is killed.
 */
struct bus;

/**
 * struct bus_opener
 * @clean: nothing of an earlier case is left
 * @open: what main would do; fails the test when it cannot
 * @close: the bus and whatever @open opened beside it
 */
struct bus_opener {
        void (*clean)(void *data);
        struct bus *(*open)(void *data);
        void (*close)(void *data, struct bus *bus);
        void *data;
};

/* Each: Return: how many cases failed. */
int bus_contract_run(const char *name, const struct bus_opener *opener);
int bus_crash_contract_run(const char *name, const struct bus_opener *opener);
