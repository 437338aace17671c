#pragma once
/*
 * run_follow - from a started sandbox to the verdict
 */
struct run;

/** enum run_followed - VERDICT: the state is JUDGED; LEFT: detach or abandon was asked for */
enum run_followed { RUN_FOLLOWED_VERDICT, RUN_FOLLOWED_LEFT };

enum run_followed run_follow(struct run *run);
