#pragma once
/*
 * init - the templates of `argon init`
 */
#include <stddef.h>

struct str;

/** struct init_template - @name: for --template; @type: of plan_project_type(); @jobs: YAML */
struct init_template {
        const char *name;
        const char *type;
        const char *jobs;
};

extern const struct init_template init_templates[];
extern const size_t init_n_templates;

/** init_text() - append the file that a template makes */
void init_text(const struct init_template *template, struct str *ret);
