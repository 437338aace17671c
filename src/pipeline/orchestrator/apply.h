#pragma once
/*
 * apply - one result of an executor, written into the stored build
 *
 * Pure. Results come at least once and in order for one attempt; a repeated one changes nothing.
 * Only the holder of an attempt's token is listened to, and only until the attempt has ended.
 */
struct build;
struct error;
struct job_result;

/* Steps of one attempt; a result that speaks of a later one is garbage. */
#define APPLY_STEPS_MAX 1000
/* Of a failing step's last lines, so many bytes stay with the attempt. */
#define APPLY_TAIL_BYTES_MAX (8 * 1024)

/**
 * apply_result() - change the build as the result says
 *
 * Return: 1 changed, 0 nothing new; -ERROR_DENIED when token, attempt or time are not right (a
 * stale executor), -ERROR_INVALID when the result cannot be.
 */
int apply_result(struct build *build, const struct job_result *result, struct error *err);
