#pragma once
/*
 * pipeline_source - the pipeline file that a command works on: named, found, or standard input
 */
struct error;
struct pipeline_file;

/** more than this is not read at all; what is too large for the language is a finding */
#define PIPELINE_SOURCE_BYTES_MAX (16 * 1024 * 1024)

/**
 * pipeline_source_find() - the name of the pipeline file in a folder
 * @ret: one of the two names of pipeline_file.h
 *
 * Return: 0; -ERROR_NOT_FOUND when there is none, -ERROR_INVALID when there are both.
 */
int pipeline_source_find(const char **ret, const char *folder, struct error *err);

/**
 * pipeline_source_read() - read and parse
 * @path: a file, or "-" for standard input
 * @name: for the findings; NULL: the path
 */
int pipeline_source_read(struct pipeline_file **ret, const char *path, const char *name,
                         struct error *err);
