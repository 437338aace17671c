#pragma once
/*
 * local - the engine without Docker: bubblewrap on this machine
 *
 * A job sees an allow-list of the machine's folders, read-only (/usr and what belongs to it, chosen
 * files of /etc), an empty /tmp and /run of its own, its workspace and its control folder; never
 * /home, /root, /var, /run or the data folder. It runs under a user of its own, without any
 * capability, in namespaces of its own for processes, mounts, IPC and, with `network: none`, the
 * network. Images are not used: info->version says what jobs run on instead.
 *
 * Limits are those of cgroups (v1 or v2) where this user may make them, else of rlimits, which know
 * no memory of a job as a whole.
 */
struct engine;
struct engine_options;
struct error;

/** local_engine_open() - Return: 0, or -ERROR_UNAVAILABLE when bubblewrap is missing or may not
 * make namespaces here; the text says what to do */
int local_engine_open(struct engine **ret, const struct engine_options *options, struct error *err);
