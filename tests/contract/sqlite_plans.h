#pragma once
/*
 * sqlite_plans - watches every statement that a test program runs, and finds those that would read
 * or sort a whole table
 *
 * Lists must stay fast with a million rows; a contract runs with ten. So the plan is checked, not
 * the time: of each statement that was run, once.
 */

/** sqlite_plans_watch() - before the first database is opened */
void sqlite_plans_watch(void);
/** sqlite_plans_check() - @paths: databases with the schema, NULL at the end. What is wrong goes to
 *  standard error. Return: how many statements have a bad plan */
int sqlite_plans_check(const char *const *paths);
