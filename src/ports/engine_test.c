#include "ports/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static const struct engine_info *working_info(struct engine *engine)
{
        static const struct engine_info info = {.name = "works", .version = "works 1.0"};

        return &info;
}

static int open_working(struct engine **ret, const struct engine_options *options,
                        struct error *err)
{
        static const struct engine_ops ops = {.info = working_info};
        static struct engine engine = {&ops};

        *ret = &engine;
        return 0;
}

static int open_broken(struct engine **ret, const struct engine_options *options, struct error *err)
{
        return error_set(err, ERROR_UNAVAILABLE, "the socket is not there");
}

static const struct engine_options options;

TEST("auto takes docker when it answers")
{
        static const struct engine_adapter table[] = {{"local", open_broken},
                                                      {"docker", open_working}};
        struct engine *engine = NULL;
        scoped_text char *why = NULL;
        struct error err = {0};

        assert_ok(engine_open(&engine, &why, table, 2, "auto", &options, &err), err);
        assert_string_equal(why, "works 1.0, because the Docker daemon answers");
}

TEST("auto falls back to the local engine and says why")
{
        static const struct engine_adapter table[] = {{"docker", open_broken},
                                                      {"local", open_working}};
        struct engine *engine = NULL;
        scoped_text char *why = NULL;
        struct error err = {0};

        assert_ok(engine_open(&engine, &why, table, 2, "auto", &options, &err), err);
        assert_string_equal(why,
                            "works 1.0, because Docker cannot be used: the socket is not there");
}

TEST("when nothing works the text holds the reason of each")
{
        static const struct engine_adapter table[] = {{"docker", open_broken},
                                                      {"local", open_broken}};
        struct engine *engine = NULL;
        scoped_text char *why = NULL;
        struct error err = {0};

        assert_int_equal(engine_open(&engine, &why, table, 2, "auto", &options, &err),
                         -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "docker: the socket is not there"));
        assert_non_null(strstr(err.text, "local: the socket is not there"));
        assert_null(why);
        assert_null(engine);
}

TEST("a name is taken at its word, without a fallback")
{
        static const struct engine_adapter table[] = {{"docker", open_broken},
                                                      {"local", open_working}};
        struct engine *engine = NULL;
        scoped_text char *why = NULL;
        struct error err = {0};

        assert_int_equal(engine_open(&engine, &why, table, 2, "docker", &options, &err),
                         -ERROR_UNAVAILABLE);
        assert_string_equal(err.text, "engine docker: the socket is not there");
        assert_int_equal(engine_open(&engine, &why, table, 2, "podman", &options, &err),
                         -ERROR_INVALID);
        assert_non_null(strstr(err.text, "auto, docker or local"));
        assert_ok(engine_open(&engine, &why, table, 2, "local", &options, &err), err);
}

TEST_MAIN()
