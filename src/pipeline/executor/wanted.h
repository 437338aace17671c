#pragma once
/*
 * wanted - whether the jobs that run here are still wanted
 *
 * Live messages cancel a job at once, but may be lost; and a process that was frozen for long may
 * run an attempt that was given to somebody else. So now and then the builds in the store are
 * asked: jobs of a build that is to be cancelled are cancelled, jobs that no build waits for any
 * more are abandoned (their results would be refused).
 */
struct slots;
struct store;

void wanted_check(struct slots *slots, struct store *store);
/** wanted_cancel() - a live message came for this job */
void wanted_cancel(struct slots *slots, const char *job_id);
