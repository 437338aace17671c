#pragma once
/*
 * rights - who the supervisor and its steps are, and what they may
 */
#include <stdint.h>

struct error;
struct step_plan;

/** rights_supervisor() - change to the plan's supervisor_uid, keeping SETUID, SETGID and KILL */
int rights_supervisor(const struct step_plan *plan, struct error *err);
/**
 * rights_step() - in the forked child: become what the plan says
 *
 * What cannot be kept is an error, never a weaker profile.
 */
int rights_step(const struct step_plan *plan, struct error *err);
