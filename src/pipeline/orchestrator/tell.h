#pragma once
/*
 * tell - an ended build as the notifier gets it
 */
struct build;
struct notification;

/** tell_build() - @url: what links start with. Its texts are views into the build; the caller frees
 *  it before the build */
struct notification *tell_build(const struct build *build, const char *url);
