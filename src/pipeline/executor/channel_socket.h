#pragma once
/*
 * channel_socket - the socket in a job's control folder
 */
#include <sys/types.h>

struct error;

/** channel_socket_listen() - a non-blocking listener on CHANNEL_SOCKET in the folder (a descriptor,
 *  O_PATH will do), in the place of one that was there */
int channel_socket_listen(int *ret, int folder, struct error *err);
/** channel_socket_accept() - the connection of that process, or -1; all others are hung up on */
int channel_socket_accept(int listener, pid_t peer);
