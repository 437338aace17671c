#pragma once
/*
 * docker - the engine on a Docker daemon (Engine API 1.41 or newer, also Podman's)
 *
 * A job is one container whose PID 1 is argon-step, with the log driver none. Its network is that
 * of its slot: a bridge of its own kept by a pause container (argon-step itself, imported as an
 * image: nothing is pulled for us), which jobs of the slot join one after the other. As root, rules
 * of iptables close this machine's ports and the metadata address to it.
 *
 * Whether the daemon sees our folders is tried at the start; if not, workspace and argon-step go in
 * as archives and engine_attach() stands for the socket.
 */
struct engine;
struct engine_options;
struct error;

/** docker_engine_open() - Return: 0; -ERROR_UNAVAILABLE when no daemon answers, -ERROR_INVALID when
 *  it cannot be used; the text says why */
int docker_engine_open(struct engine **ret, const struct engine_options *options,
                       struct error *err);
