#pragma once
/*
 * issue - put attempts of jobs on sandbox.queue
 *
 * Belongs to the dispatcher's thread.
 */
#include <stddef.h>
#include <stdint.h>

struct build;
struct error;
struct job;
struct orchestrator;
struct watch;

/** struct issue_item - a job that may run; build and job are borrowed from the pass */
struct issue_item {
        struct build *build;
        struct job *job;
};

struct issue_list {
        struct issue_item *items;
        size_t n;
        size_t cap;
};

void issue_list_add(struct issue_list *list, struct build *build, struct job *job);
/** issue_list_forget() - take out the jobs of a build */
void issue_list_forget(struct issue_list *list, const struct build *build);
void issue_list_clear(struct issue_list *list);

/**
 * issue_first() - the next attempt for each of the chosen jobs
 * @order: n indices into the list; messages are published in this order
 *
 * A build that somebody else changed meanwhile is left out; -ERROR_CONFLICT says that there was
 * one.
 */
int issue_first(struct orchestrator *o, const struct issue_list *list, const size_t *order,
                size_t n, struct watch *watch, int64_t now_ms, struct error *err);
/** issue_again() - the message of the newest attempt once more */
int issue_again(struct orchestrator *o, struct build *build, struct job *job, struct watch *watch,
                int64_t now_ms, struct error *err);
