#include "adapters/engine/docker_auth.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"

#include "base/banned.h"

#define CONFIG_MAX (1 << 20)
#define SECRET_MAX 16384
#define HELPER_MS 20000
#define HUB "https://index.docker.io/v1/"

char *docker_auth_registry(const char *image)
{
        const char *slash = strchr(image, '/');
        size_t n = slash ? (size_t)(slash - image) : 0;

        if (n == 0 || (!memchr(image, '.', n) && !memchr(image, ':', n) &&
                       strncmp(image, "localhost/", n + 1) != 0))
                return text_copy(HUB);
        if (!strncmp(image, "docker.io/", n + 1))
                return text_copy(HUB);
        return text_format("%.*s", (int)n, image);
}

/* "user:password" in base64, apart. Return: 0 or -1. */
static int split_auth(const char *text, char **ret_user, char **ret_password)
{
        size_t n = strlen(text);
        unsigned char plain[SECRET_MAX];
        char *colon;
        int got;

        if (n == 0 || n % 4 != 0 || n / 4 * 3 >= sizeof(plain))
                return -1;
        got = EVP_DecodeBlock(plain, (const unsigned char *)text, (int)n);
        if (got < 0)
                return -1;
        plain[got] = '\0';
        colon = strchr((char *)plain, ':');
        if (!colon)
                return -1;
        *ret_user = text_format("%.*s", (int)(colon - (char *)plain), (char *)plain);
        *ret_password = text_copy(colon + 1);
        OPENSSL_cleanse(plain, sizeof(plain));
        return 0;
}

static char *header_of(const json_t *auth)
{
        scoped_str struct str json = STR_INIT;
        char *coded;
        char *header;

        str_add_json(&json, auth);
        coded = xmalloc(json.len / 3 * 4 + 5);
        EVP_EncodeBlock((unsigned char *)coded, (const unsigned char *)json.data, (int)json.len);
        for (char *at = coded; *at; at++)
                *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
        header = text_format("X-Registry-Auth: %s", coded);
        free(coded);
        return header;
}

static char *login_header(const char *user, const char *password, const char *registry)
{
        scoped(json) json_t *auth = json_object();
        bool token = !strcmp(user, "<token>");

        if (token) {
                json_set_text(auth, "identitytoken", password);
        } else {
                json_set_text(auth, "username", user);
                json_set_text(auth, "password", password);
        }
        json_set_text(auth, "serveraddress", registry);
        return header_of(auth);
}

static int ask_helper(char **ret, const char *helper, const char *registry, struct error *err)
{
        scoped_text char *program = text_format("docker-credential-%s", helper);
        scoped_text char *path = text_format("PATH=%s", text_or(getenv("PATH"), "/usr/bin:/bin"));
        scoped_text char *home = text_format("HOME=%s", text_or(getenv("HOME"), "/"));
        const char *const argv[] = {program, "get", NULL};
        const char *const env[] = {path, home, NULL};
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = argv,
                .env = env,
                .input = registry,
                .input_len = strlen(registry),
                .timeout_ms = HELPER_MS,
                .output_max = SECRET_MAX,
                .error_max = 1024,
                .cancel_fd = -1,
        };
        scoped(json) json_t *json = NULL;

        if (process_run(&result, &spec, err) < 0)
                return error_wrap(err, "ask for the credentials of %s", registry);
        if (strstr(result.output.data, "credentials not found"))
                return 0;
        if (result.exit_code != 0 ||
            json_parse(&json, result.output.data, result.output.len, SECRET_MAX, NULL) < 0)
                return error_set(err, ERROR_DENIED, "%s gives no credentials for %s: %s", program,
                                 registry, result.errors.data);
        *ret = login_header(json_text_or(json, "Username", ""), json_text_or(json, "Secret", ""),
                            registry);
        return 0;
}

static int from_config(char **ret, const json_t *config, const char *registry, struct error *err)
{
        const json_t *auths = json_object_get(config, "auths");
        const json_t *entry = json_object_get(auths, registry);
        scoped_text char *with_scheme = text_format("https://%s", registry);
        const char *helper = json_text_or(json_object_get(config, "credHelpers"), registry,
                                          json_text_or(config, "credsStore", ""));
        scoped_text char *user = NULL;
        scoped_text char *password = NULL;

        if (*helper)
                return ask_helper(ret, helper, registry, err);
        if (!entry)
                entry = json_object_get(auths, with_scheme);
        if (!entry)
                return 0;
        if (*json_text_or(entry, "identitytoken", "")) {
                *ret = login_header("<token>", json_text_or(entry, "identitytoken", ""), registry);
                return 0;
        }
        if (split_auth(json_text_or(entry, "auth", ""), &user, &password) < 0)
                return error_set(err, ERROR_INVALID,
                                 "config.json of docker has no usable `auth` for %s; run `docker "
                                 "login %s` again",
                                 registry, registry);
        *ret = login_header(user, password, registry);
        return 0;
}

int docker_auth_header(char **ret, const char *image, const char *folder, struct error *err)
{
        scoped_text char *registry = docker_auth_registry(image);
        scoped_text char *home = text_format("%s/.docker", text_or(getenv("HOME"), ""));
        scoped_text char *path =
                fs_path(text_or(folder, text_or(getenv("DOCKER_CONFIG"), home)), "config.json");
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *config = NULL;

        *ret = NULL;
        if (access(path, F_OK) < 0)
                return 0;
        if (str_read_file(&text, path, CONFIG_MAX, err) < 0 ||
            json_parse(&config, text.data, text.len, CONFIG_MAX, err) < 0)
                return error_wrap(err, "read '%s'", path);
        return from_config(ret, config, registry, err);
}
