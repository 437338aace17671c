#pragma once
/*
 * workspace - the job's folder handed over to the user that the job runs as
 *
 * Before the job runs, so nobody changes the tree meanwhile. Links are not followed.
 */
#include <sys/types.h>

struct error;

/** workspace_give() - the tree belongs to this user from now on; needs root */
int workspace_give(const char *folder, uid_t uid, gid_t gid, struct error *err);
/** workspace_open() - everybody may read and write it: where the user has a name that only the
 *  image knows, or we are not root */
int workspace_open(const char *folder, struct error *err);
