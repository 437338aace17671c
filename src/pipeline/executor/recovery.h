#pragma once
/*
 * recovery - what the process before left: sandboxes, leases, folders
 *
 * Leases of this executor become assignments, with their sandbox where there is one; sandboxes,
 * folders and spools without a lease are removed.
 */
#include <stddef.h>

struct assignment;
struct assignment_place;
struct error;

/**
 * recovery_run() - look once
 * @ret: assignments to run, on the heap like each of them
 *
 * Return: 0; -ERROR_UNAVAILABLE when store or engine do not answer: try again.
 */
int recovery_run(struct assignment ***ret, size_t *ret_n, const struct assignment_place *place,
                 struct error *err);
