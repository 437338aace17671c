#pragma once
/*
 * store_contract - what every store must do, as cases that run against any adapter
 */
struct store;

/** struct store_opener - as struct bus_opener */
struct store_opener {
        void (*clean)(void *data);
        struct store *(*open)(void *data);
        void (*close)(void *data, struct store *store);
        void *data;
};

/* Each: Return: how many cases failed. */
int store_contract_run(const char *name, const struct store_opener *opener);
int store_builds_contract_run(const char *name, const struct store_opener *opener);
int store_logs_contract_run(const char *name, const struct store_opener *opener);
