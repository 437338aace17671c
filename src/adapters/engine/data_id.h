#pragma once
/*
 * data_id - who a data folder is: what its engine makes carries this, so that a server never takes
 * another's sandboxes for its own
 */
struct error;

#define DATA_ID8 9 /* eight hex digits, and the NUL */

/** data_id_read() - from DATA/engine/id, made at the first time
 *  @ret: on the heap; @ret8: its end, for names that must be short */
int data_id_read(char **ret, char ret8[DATA_ID8], const char *data, struct error *err);
