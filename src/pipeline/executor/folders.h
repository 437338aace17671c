#pragma once
/*
 * folders - where an executor keeps things, and who it is
 */
#include "base/id.h"

struct error;

/**
 * struct folders - texts on the heap
 * @id: of this executor, kept in the data folder
 * @work: workspaces; @control: control folders; @spool: outboxes
 * @masks: on a file system that is memory only, for values that must lie on no disk; NULL where
 *         there is none: then masks that a job adds are not kept over a restart
 */
struct folders {
        char id[ID_SIZE];
        char *work;
        char *control;
        char *spool;
        char *masks;
};

/** folders_init() - make them; after a failure too folders_done() is called */
int folders_init(struct folders *folders, const char *data, struct error *err);
void folders_done(struct folders *folders);
