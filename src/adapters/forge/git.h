#pragma once
/*
 * git - the forge port on the git program (2.39 or newer)
 */
struct error;
struct forge;
struct forge_options;

/** git_forge_open() - Return: -ERROR_UNAVAILABLE when there is no git; options are copied, their
 * texts borrowed until forge_close() */
int git_forge_open(struct forge **ret, const struct forge_options *options, struct error *err);
