#include "commands/init.h"

#include <string.h>

#include "base/str.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"
#include "tests/support/test.h"

#include "base/banned.h"

TEST("lint has nothing to say about any template")
{
        for (size_t i = 0; i < init_n_templates; i++) {
                scoped_str struct str text = STR_INIT;
                scoped_str struct str found = STR_INIT;
                struct pipeline_file *file;

                init_text(&init_templates[i], &text);
                file = pipeline_file_parse(init_templates[i].name, text.data, text.len);
                findings_gcc(&file->findings, &found);
                assert_string_equal(found.data, "");
                assert_true(file->n_jobs > 0 && file->jobs[0].n_steps > 0);
                pipeline_file_free(file);
        }
}

TEST("every kind of project has a template")
{
        static const char *const marks[] = {"pom.xml",  "build.gradle", "package.json",
                                            "setup.py", "go.mod",       "Cargo.toml",
                                            "Makefile", "README",       "CMakeLists.txt"};

        for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
                const char *type = plan_project_type(marks[i]);
                size_t found = 0;

                for (size_t j = 0; j < init_n_templates; j++)
                        found += strcmp(init_templates[j].type, type) == 0;
                assert_int_equal(found, 1);
        }
}

TEST_MAIN()
