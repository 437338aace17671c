#include "domain/pipeline_file.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static struct pipeline_file *parse(const char *text)
{
        return pipeline_file_parse(".runnerci.yml", text, strlen(text));
}

static void findings(const char *text, struct str *ret)
{
        scoped(pipeline_file) struct pipeline_file *file = parse(text);

        findings_gcc(&file->findings, ret);
}

static const char first_file[] = "version: 1.0\n"
                                 "jobs:\n"
                                 "  build:\n"
                                 "    image: python:3.10\n"
                                 "    steps:\n"
                                 "      - name: Install dependencies\n"
                                 "        run: pip install -r requirements.txt\n"
                                 "      - name: Run main script\n"
                                 "        run: python main.py\n";

TEST("the first users' file is understood without a word")
{
        scoped(pipeline_file) struct pipeline_file *file = parse(first_file);
        const struct pipeline_job *job;

        assert_int_equal(file->findings.n, 0);
        assert_int_equal(file->n_jobs, 1);
        job = &file->jobs[0];
        assert_string_equal(job->name, "build");
        assert_string_equal(job->title, "build");
        assert_string_equal(job->image, "python:3.10");
        assert_int_equal(job->n_steps, 2);
        assert_string_equal(job->steps[0].name, "Install dependencies");
        assert_string_equal(job->steps[1].run, "python main.py");
        assert_int_equal(job->steps[1].line, 8);
        assert_int_equal(job->line, 3);
}

TEST("every key of the language lands where it belongs")
{
        scoped(pipeline_file) struct pipeline_file *file =
                parse("version: \"1\"\n"
                      "name: A project\n"
                      "env: {A: 1.0, B: on, C: }\n"
                      "defaults: {image: 'a:1', shell: bash, working-directory: web, "
                      "timeout-minutes: 5}\n"
                      "notify: {email: failure}\n"
                      "jobs:\n"
                      "  a:\n"
                      "    steps: [run: \"\\n  make all  \\nmake test\"]\n"
                      "  b:\n"
                      "    name: The second\n"
                      "    image: localhost:5000/x/y:2\n"
                      "    needs: [a]\n"
                      "    env: {D: ''}\n"
                      "    timeout-minutes: 0.5\n"
                      "    continue-on-error: true\n"
                      "    resources: {cpus: 1.5, memory: 512MiB, pids: 64, disk: 1g}\n"
                      "    network: none\n"
                      "    retry: {max: 2, when: [infra, failure], exit-codes: [137, 75]}\n"
                      "    steps:\n"
                      "      - {id: x, name: n, run: r, env: {E: e}, shell: 'zsh {0}', "
                      "working-directory: "
                      "/srv, timeout-minutes: 2, continue-on-error: false}\n"
                      "  c:\n"
                      "    needs: a\n"
                      "    retry: {max: 1, exit-codes: 3}\n"
                      "    steps: [run: x]\n");
        const struct pipeline_job *a = &file->jobs[0];
        const struct pipeline_job *b = &file->jobs[1];
        const struct pipeline_job *c = &file->jobs[2];

        assert_int_equal(file->findings.n, 0);
        assert_string_equal(file->name, "A project");
        assert_string_equal(file->notify, "failure");
        assert_int_equal(file->n_env, 3);
        assert_string_equal(file->env[0].value, "1.0");
        assert_string_equal(file->env[1].value, "on");
        assert_string_equal(file->env[2].value, "");
        assert_string_equal(a->image, "a:1");
        assert_int_equal(a->timeout_ms, 300000);
        assert_string_equal(a->steps[0].shell, "bash");
        assert_string_equal(a->steps[0].folder, "web");
        assert_string_equal(a->steps[0].name, "make all");
        assert_false(a->network_none);
        assert_int_equal(a->retry_max, 0);
        assert_string_equal(b->title, "The second");
        assert_string_equal(b->image, "localhost:5000/x/y:2");
        assert_int_equal(b->n_needs, 1);
        assert_string_equal(b->needs[0], "a");
        assert_string_equal(b->env[0].name, "D");
        assert_int_equal(b->timeout_ms, 30000);
        assert_true(b->continue_on_error);
        assert_int_equal(b->millicpus, 1500);
        assert_int_equal(b->memory, 512 << 20);
        assert_int_equal(b->pids, 64);
        assert_int_equal(b->disk, 1 << 30);
        assert_true(b->network_none);
        assert_int_equal(b->retry_max, 2);
        assert_true(b->retry_infra);
        assert_false(b->retry_timeout);
        assert_true(b->retry_failure);
        assert_string_equal(b->retry_codes, "75,137");
        assert_string_equal(b->steps[0].id, "x");
        assert_string_equal(b->steps[0].shell, "zsh {0}");
        assert_string_equal(b->steps[0].folder, "/srv");
        assert_int_equal(b->steps[0].timeout_ms, 120000);
        assert_string_equal(c->needs[0], "a");
        assert_true(c->retry_infra && c->retry_timeout && c->retry_failure);
        assert_string_equal(c->retry_codes, "3");
}

TEST("1, 1.0 and their quoted forms are the same version, others are told apart")
{
        static const struct {
                const char *version;
                const char *found;
        } table[] = {
                {"1", ""},
                {"1.0", ""},
                {"'1'", ""},
                {"\"1.0\"", ""},
                {"01.00", ""},
                {"1.1",
                 "f:1:10: warning: version 1.1 of the language is newer than this argon; "
                 "what is new in it may be refused; this argon knows 1.0 [unknown-version]\n"},
                {"1.10", "f:1:10: warning: version 1.10 of the language is newer than this argon; "
                         "what is new in it may be refused; this argon knows 1.0 "
                         "[unknown-version]\n"},
                {"2", "f:1:10: error: version 2 of the language is not known here; write version: "
                      "1.0, or use a newer argon [unknown-version]\n"},
                {"11", "f:1:10: error: version 11 of the language is not known here; write "
                       "version: 1.0, or use a newer argon [unknown-version]\n"},
                {"0", "f:1:10: error: version 0 of the language is not known here; write version: "
                      "1.0, or use a newer argon [unknown-version]\n"},
                {"1.", "f:1:10: error: \"version\" takes a version, not \"1.\"; write version: 1.0 "
                       "[wrong-type]\n"},
                {"v1", "f:1:10: error: \"version\" takes a version, not \"v1\"; write version: 1.0 "
                       "[wrong-type]\n"},
                {"1.0.0", "f:1:10: error: \"version\" takes a version, not \"1.0.0\"; write "
                          "version: 1.0 [wrong-type]\n"},
                {"[1]", "f:1:10: error: \"version\" takes a version, not a list; write version: "
                        "1.0 [wrong-type]\n"},
                {"", "f:1:1: error: key \"version\" has no value; write version: 1.0, or take it "
                     "out [wrong-type]\n"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str text = STR_INIT;
                scoped_str struct str found = STR_INIT;
                scoped(pipeline_file) struct pipeline_file *file = NULL;

                str_printf(&text, "version: %s\njobs: {a: {steps: [{run: x}]}}\n",
                           table[i].version);
                file = pipeline_file_parse("f", text.data, text.len);
                findings_gcc(&file->findings, &found);
                assert_string_equal(found.data, table[i].found);
        }
}

/* Each text stands for the file below "version: 1\n"; the findings without the file's name. */
static const struct {
        const char *text;
        const char *found;
} bad_files[] = {
        {"", "1:1: error: key \"jobs\" is missing in the file; add jobs: {build: {steps: [{run: "
             "make}]}} [missing-key]\n"},
        {"jobs: {}\n", "2:7: error: \"jobs\" is empty; write jobs: {build: {steps: [{run: make}]}} "
                       "[empty]\n"},
        {"jobs: [a]\n", "2:7: error: \"jobs\" takes a map of jobs, not a list; write jobs: {build: "
                        "{steps: [{run: make}]}} [wrong-type]\n"},
        {"jobs: {a: x}\n", "2:11: error: job \"a\" must be a map of keys and values, not a text; "
                           "write \"name: Unit tests\" below it [wrong-type]\n"},
        {"jobs: {a: {image: 'x:1'}}\n",
         "2:8: error: key \"steps\" is missing in job \"a\"; add steps: [{run: make}] "
         "[missing-key]\n"},
        {"jobs: {a: {steps: []}}\n",
         "2:19: error: \"steps\" is empty; write steps: [{run: make}] [empty]\n"},
        {"jobs: {a: {steps: [{name: x}]}}\n",
         "2:20: error: key \"run\" is missing in step 1 of job \"a\"; add run: make test "
         "[missing-key]\n"},
        {"jobs: {a: {steps: [make]}}\n",
         "2:20: error: step 1 of job \"a\" must be a map of keys and values, not a text; write "
         "\"id: compile\" below it [wrong-type]\n"},
        {"jobs: {a: {steps: [{run: ' '}]}}\n",
         "2:26: error: \"run\" must not be empty; write run: make test [bad-value]\n"},
        {"jobs: {a: {stpes: [{run: x}]}}\n",
         "2:12: error: unknown key \"stpes\" in job \"a\"; did you mean \"steps\"? "
         "[unknown-key]\n"},
        {"jobs: {a: {steps: [{script: x}]}}\n",
         "2:21: error: unknown key \"script\" in step 1 of job \"a\"; \"script\" is GitLab's word; "
         "here it is \"run\" [unknown-key]\n"},
        {"jobs: {a: {depends_on: [b], steps: [{run: x}]}}\n",
         "2:12: error: unknown key \"depends_on\" in job \"a\"; here it is \"needs\", and it "
         "belongs to the job [unknown-key]\n"},
        {"stages: [a]\njobs: {a: {steps: [{run: x}]}}\n",
         "2:1: error: unknown key \"stages\" in the file; there are no stages: order comes from "
         "\"needs\" of the jobs [unknown-key]\n"},
        {"enviroment: {A: b}\njobs: {a: {steps: [{run: x}]}}\n",
         "2:1: error: unknown key \"enviroment\" in the file; here it is \"env\" [unknown-key]\n"},
        {"xyz: 1\njobs: {a: {steps: [{run: x}]}}\n",
         "2:1: error: unknown key \"xyz\" in the file [unknown-key]\n"},
        {"on: push\njobs: {a: {steps: [{run: x}]}}\n",
         "2:1: error: key \"on\" in the file is not supported yet; this version cannot run it: "
         "take it out [not-supported-yet]\n"},
        {"jobs: {a: {if: x, services: {}, steps: [{run: x, retry: 1}]}}\n",
         "2:12: error: key \"if\" in job \"a\" is not supported yet; this version cannot run it: "
         "take it out [not-supported-yet]\n"
         "2:19: error: key \"services\" in job \"a\" is not supported yet; this version cannot run "
         "it: take it out [not-supported-yet]\n"
         "2:50: error: key \"retry\" in step 1 of job \"a\" is not supported yet; this version "
         "cannot run it: take it out [not-supported-yet]\n"},
        {"jobs:\n  a:\n    steps:\n      - run: |\n          echo a\n          echo ${{ x }}\n",
         "7:16: error: expressions (${{ … }}) are not supported yet; use a variable of the "
         "environment, like $CI_BRANCH [not-supported-yet]\n"},
        {"env: {A: '${{ x }}'}\njobs: {a: {steps: [{run: x}]}}\n",
         "2:11: error: expressions (${{ … }}) are not supported yet; use a variable of the "
         "environment, like $CI_BRANCH [not-supported-yet]\n"},
        {"jobs: {1a: {steps: [{run: x}]}}\n",
         "2:8: error: \"1a\" is not a name for a job; use letters, digits, _ and -, at most 63, no "
         "digit or - first; \"name\" may be any text [bad-name]\n"},
        {"jobs: {a: {needs: [biuld], steps: [{run: x}]}, build: {steps: [{run: x}]}}\n",
         "2:20: error: job \"a\" needs \"biuld\", which does not exist; did you mean \"build\"? "
         "(defined at line 2) [unknown-job]\n"},
        {"jobs: {a: {needs: deploy, steps: [{run: x}]}}\n",
         "2:19: error: job \"a\" needs \"deploy\", which does not exist; the jobs are: a "
         "[unknown-job]\n"},
        {"jobs: {a: {needs: [b, b], steps: [{run: x}]}, b: {steps: [{run: x}]}}\n",
         "2:23: error: job \"a\" needs \"b\" twice; once is enough [bad-value]\n"},
        {"jobs: {a: {needs: a, steps: [{run: x}]}}\n",
         "2:19: error: jobs need each other in a circle: a → a; take one of these needs out "
         "[needs-cycle]\n"},
        {"jobs:\n  a: {needs: [c], steps: [{run: x}]}\n  b: {needs: [a], steps: [{run: x}]}\n"
         "  c: {needs: [b], steps: [{run: x}]}\n  d: {needs: [a], steps: [{run: x}]}\n",
         "4:15: error: jobs need each other in a circle: a → c → b → a; take one of these needs "
         "out [needs-cycle]\n"},
        {"jobs: {a: {needs: {b: c}, steps: [{run: x}]}}\n",
         "2:19: error: \"needs\" takes a list of names of jobs, not a map; write needs: [build] "
         "[wrong-type]\n"},
        {"jobs: {a: {timeout-minutes: yes, steps: [{run: x}]}}\n",
         "2:29: error: \"timeout-minutes\" takes a number of minutes, not \"yes\"; write "
         "timeout-minutes: 30 [wrong-type]\n"},
        {"jobs: {a: {timeout-minutes: 0, steps: [{run: x}]}}\n",
         "2:29: error: \"timeout-minutes\" is too small; write timeout-minutes: 30 [bad-value]\n"},
        {"jobs: {a: {timeout-minutes: -5, steps: [{run: x}]}}\n",
         "2:29: error: \"timeout-minutes\" takes a number of minutes, not \"-5\"; write "
         "timeout-minutes: 30 [wrong-type]\n"},
        {"jobs: {a: {timeout-minutes: 999999, steps: [{run: x}]}}\n",
         "2:29: error: \"timeout-minutes\" is too large; write timeout-minutes: 30 [bad-value]\n"},
        {"jobs: {a: {continue-on-error: yes, steps: [{run: x}]}}\n",
         "2:31: error: \"continue-on-error\" takes true or false, not \"yes\"; write "
         "continue-on-error: true [wrong-type]\n"},
        {"jobs: {a: {continue-on-error: 'true', steps: [{run: x}]}}\n",
         "2:31: error: \"continue-on-error\" takes true or false, not \"true\"; write "
         "continue-on-error: true [wrong-type]\n"},
        {"jobs: {a: {image: , steps: [{run: x}]}}\n",
         "2:12: error: key \"image\" has no value; write image: python:3.12, or take it out "
         "[wrong-type]\n"},
        {"jobs: {a: {image: 'x y', steps: [{run: x}]}}\n",
         "2:19: error: \"x y\" is not the name of an image; write image: python:3.12 "
         "[bad-value]\n"},
        {"jobs: {a: {image: --privileged, steps: [{run: x}]}}\n",
         "2:19: error: \"--privileged\" is not the name of an image; write image: python:3.12 "
         "[bad-value]\n"},
        {"jobs: {a: {image: 'r:5000/python', steps: [{run: x}]}}\n",
         "2:19: warning: image \"r:5000/python\" is not pinned; name a version, so that the job "
         "runs the same tomorrow [unpinned-image]\n"},
        {"jobs: {a: {network: host, steps: [{run: x}]}}\n",
         "2:21: error: \"network\" cannot be \"host\"; one of: default none [bad-value]\n"},
        {"jobs: {a: {privileged: true, steps: [{run: x}]}}\n",
         "2:12: error: unknown key \"privileged\" in job \"a\" [unknown-key]\n"},
        {"jobs: {a: {resources: {memory: 512, cpus: x, pids: 1.5, disk: -1}, steps: [{run: x}]}}\n",
         "2:32: error: \"memory\" is 512 bytes, less than 6 MiB; write memory: 512MiB "
         "[bad-value]\n"
         "2:43: error: \"cpus\" takes a number of cores, not \"x\"; write cpus: 1.5 [wrong-type]\n"
         "2:52: error: \"pids\" takes a whole number, not \"1.5\"; write pids: 256 [wrong-type]\n"
         "2:63: error: \"disk\" takes a size, not \"-1\"; write disk: 4GiB [wrong-type]\n"},
        {"jobs: {a: {retry: {max: 11}, steps: [{run: x}]}}\n",
         "2:25: error: \"max\" must lie between 0 and 10; write max: 2 [bad-value]\n"},
        {"jobs: {a: {retry: {when: [infra]}, steps: [{run: x}]}}\n",
         "2:12: error: key \"max\" is missing in \"retry\" of job \"a\"; add max: 2 "
         "[missing-key]\n"},
        {"jobs: {a: {retry: {max: 1, when: [failed]}, steps: [{run: x}]}}\n",
         "2:35: error: \"when\" cannot be \"failed\"; one of: infra timeout failure [bad-value]\n"},
        {"jobs: {a: {retry: {max: 1, exit-codes: [0, 256, x]}, steps: [{run: x}]}}\n",
         "2:41: error: \"exit-codes\" must lie between 1 and 255; write exit-codes: [75, 137] "
         "[bad-value]\n"
         "2:44: error: \"exit-codes\" must lie between 1 and 255; write exit-codes: [75, 137] "
         "[bad-value]\n"
         "2:49: error: \"exit-codes\" takes a list of exit codes, not \"x\"; write exit-codes: "
         "[75, 137] [wrong-type]\n"},
        {"jobs: {a: {retry: {max: 1, when: infra, exit-codes: 3}, steps: [{run: x}]}}\n",
         "2:53: error: \"exit-codes\" has no effect: \"when\" leaves out failure; add failure to "
         "\"when\", or take the exit codes out [bad-value]\n"},
        {"jobs: {a: {env: [A=b], steps: [{run: x}]}}\n",
         "2:17: error: \"env\" takes a map of names and texts, not a list; write env: {LANG: "
         "C.UTF-8} [wrong-type]\n"},
        {"jobs: {a: {env: {A-B: c, D: [e]}, steps: [{run: x}]}}\n",
         "2:18: error: \"A-B\" is not the name of a variable; use letters, digits and _, no digit "
         "first [bad-name]\n"
         "2:29: error: variable \"D\" takes a text, not a list; quote the value if it is meant as "
         "text [wrong-type]\n"},
        {"jobs: {a: {steps: [{run: x, shell: bsh}]}}\n",
         "2:36: error: shell \"bsh\" is not known; did you mean \"sh\"? [bad-value]\n"},
        {"jobs: {a: {steps: [{run: x, shell: powershell}]}}\n",
         "2:36: error: shell \"powershell\" is not known; write sh, bash, python, or a command "
         "like \"zsh -e {0}\" ({0} is the script) [bad-value]\n"},
        {"jobs: {a: {steps: [{run: x, id: 1}, {run: x, id: b}, {run: x, id: b}]}}\n",
         "2:33: error: \"1\" is not a name for a step; use letters, digits, _ and -, at most 63, "
         "no digit or - first [bad-name]\n"
         "2:67: error: two steps of job \"a\" have the id \"b\"; give one of them another id "
         "[duplicate-id]\n"},
        {"jobs: {a: {steps: [{run: x, name: \"a\\tb\"}]}}\n",
         "2:35: error: \"name\" must be one line without control characters; write name: Compile "
         "[bad-value]\n"},
        {"notify: {email: sometimes, slack: x}\njobs: {a: {steps: [{run: x}]}}\n",
         "2:17: error: \"email\" cannot be \"sometimes\"; one of: always change failure never "
         "[bad-value]\n"
         "2:28: error: unknown key \"slack\" in \"notify\" of the file [unknown-key]\n"},
        {"defaults: {run: {shell: sh}}\njobs: {a: {steps: [{run: x}]}}\n",
         "2:12: error: unknown key \"run\" in \"defaults\" of the file; write \"shell\" and "
         "\"working-directory\" directly below \"defaults\" [unknown-key]\n"},
        {"jobs:\n  a: {steps: [{run: x}]}\n  a: {steps: [{run: y}]}\n",
         "4:3: error: key \"a\" stands here twice; the first is at line 3; keep one of them "
         "[duplicate-key]\n"},
        {"jobs:\n\ta: {steps: [{run: x}]}\n",
         "3:1: error: a tab stands in the indentation; YAML is indented with spaces only [tab]\n"},
};

TEST("each mistake gets its finding: where, what, how to mend it")
{
        for (size_t i = 0; i < sizeof(bad_files) / sizeof(*bad_files); i++) {
                scoped_str struct str text = STR_INIT;
                scoped_str struct str expected = STR_INIT;
                scoped_str struct str found = STR_INIT;
                const char *line = bad_files[i].found;

                while (*line) {
                        const char *end = strchr(line, '\n');

                        str_printf(&expected, ".runnerci.yml:%.*s\n", (int)(end - line), line);
                        line = end + 1;
                }
                str_printf(&text, "version: 1\n%s", bad_files[i].text);
                findings(text.data, &found);
                assert_string_equal(found.data, expected.data);
        }
}

TEST("a file that is no map, or nothing, is said to be so")
{
        scoped_str struct str found = STR_INIT;

        findings("", &found);
        findings("# only a remark\n", &found);
        findings("~", &found);
        findings("- a\n", &found);
        findings("jobs: {a: {steps: [{run: x}]}}\n", &found);
        assert_string_equal(
                found.data,
                ".runnerci.yml:1:1: error: the file is empty; \"argon init\" writes one to begin "
                "with [empty]\n"
                ".runnerci.yml:1:1: error: the file is empty; \"argon init\" writes one to begin "
                "with [empty]\n"
                ".runnerci.yml:1:1: error: the file is empty; \"argon init\" writes one to begin "
                "with [empty]\n"
                ".runnerci.yml:1:1: error: the file must be a map of keys and values, not a list; "
                "write \"version: 1.0\" below it [wrong-type]\n"
                ".runnerci.yml:1:1: error: key \"version\" is missing in the file; add \"version: "
                "1.0\" as the first line [missing-key]\n");
}

TEST("an unknown major version hides what only follows from it")
{
        scoped_str struct str found = STR_INIT;

        findings("version: 2\nfoo: 1\nbar: 2\n", &found);
        assert_string_equal(found.data,
                            ".runnerci.yml:1:10: error: version 2 of the language is not known "
                            "here; write version: 1.0, or use a newer argon [unknown-version]\n");
}

TEST("of very many mistakes twenty are shown, sorted, and all are counted")
{
        scoped_str struct str text = STR_INIT;
        scoped(pipeline_file) struct pipeline_file *file = NULL;

        str_add(&text, "version: 1\njobs: {a: {steps: [{run: x}]}}\n");
        for (int i = 0; i < 5000; i++)
                str_printf(&text, "k%d: 1\n", i);
        file = pipeline_file_parse("f", text.data, text.len);
        assert_int_equal(file->findings.n, FINDINGS_MAX);
        assert_int_equal(findings_errors(&file->findings), 5000);
        assert_int_equal(file->findings.more, 5000 - FINDINGS_MAX);
        for (int i = 0; i < FINDINGS_MAX; i++)
                assert_int_equal(file->findings.items[i].line, i + 3);
}

TEST("jobs and steps have their limits")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str found = STR_INIT;

        str_add(&text, "version: 1\njobs:\n");
        for (int i = 0; i <= PIPELINE_JOBS_MAX; i++)
                str_printf(&text, "  j%d: {steps: [{run: x}]}\n", i);
        findings(text.data, &found);
        assert_string_equal(found.data, ".runnerci.yml:3:3: error: the file has more than 256 "
                                        "jobs [too-many]\n");
        str_clear(&text);
        str_clear(&found);
        str_add(&text, "version: 1\njobs:\n  a:\n    steps:\n");
        for (int i = 0; i <= PIPELINE_STEPS_MAX; i++)
                str_add(&text, "      - run: x\n");
        findings(text.data, &found);
        assert_string_equal(found.data, ".runnerci.yml:5:7: error: job \"a\" has more than 256 "
                                        "steps; make scripts of them [too-many]\n");
}

TEST("the schema is JSON, knows every key that runs and forbids the others")
{
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *schema = NULL;
        const json_t *job;

        pipeline_file_schema(&text);
        schema = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(schema);
        assert_string_equal(json_string_value(json_object_get(schema, "$schema")),
                            "http://json-schema.org/draft-07/schema#");
        assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
        job = json_object_get(json_object_get(json_object_get(schema, "properties"), "jobs"),
                              "additionalProperties");
        assert_true(json_is_false(json_object_get(job, "additionalProperties")));
        job = json_object_get(job, "properties");
        assert_int_equal(json_object_size(job), 10);
        assert_non_null(json_object_get(json_object_get(job, "timeout-minutes"), "description"));
        assert_int_equal(json_integer_value(json_object_get(json_object_get(job, "timeout-minutes"),
                                                            "default")),
                         60);
        assert_null(json_object_get(job, "strategy"));
}

TEST_MAIN()
