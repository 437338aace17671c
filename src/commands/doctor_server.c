#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/doctor.h"
#include "commands/settings.h"

#include "base/banned.h"

#define SKEW_MS_MAX 2000
#define BODY_MAX (64 * 1024)
#define BAD_SIGNATURES "argon_webhook_deliveries_total{result=\"bad_signature\"} "
#define TUNNEL "docs/how-to/tunnel.md shows how a tunnel makes this machine reachable"

/* What a URL's /version says; NULL: nothing, or nothing of ours. */
static json_t *version_of(struct doctor *doctor, const char *url, struct error *err)
{
        scoped_text char *path = text_format("%s/version", url);
        scoped_str struct str body = STR_INIT;
        json_t *json = NULL;
        int status;

        if (client_status(doctor->client, path, &status, &body, err) < 0)
                return NULL;
        if (status != 200) {
                error_set(err, ERROR_UNAVAILABLE, "it answers %d", status);
                return NULL;
        }
        if (json_parse(&json, body.data, body.len, BODY_MAX, err) < 0)
                return NULL;
        return json;
}

void doctor_server(struct doctor *doctor)
{
        scoped(json) json_t *version = NULL;
        struct error err = {0};
        int64_t skew;

        if (!doctor->client) {
                doctor_tell(doctor, "server", DOCTOR_WARNING,
                            "start one with 'argon up', or name one with --server",
                            "none is known here");
                return;
        }
        version = version_of(doctor, client_url(doctor->client), &err);
        if (!version) {
                doctor_tell(doctor, "server", DOCTOR_ERROR, "start it with 'argon up'",
                            "no answer at %s: %s", client_url(doctor->client), err.text);
                doctor->client = NULL; /* there is no more to ask */
                return;
        }
        skew = json_time_or_zero(version, "time") - wall_ms();
        if (skew > SKEW_MS_MAX || skew < -SKEW_MS_MAX)
                doctor_tell(doctor, "server", DOCTOR_WARNING, "synchronise both clocks with NTP",
                            "%s %s, its clock is %lld s %s", client_url(doctor->client),
                            json_text_or(version, "version", "?"),
                            (long long)(skew < 0 ? -skew : skew) / 1000,
                            skew < 0 ? "slow" : "fast");
        else
                doctor_tell(doctor, "server", DOCTOR_FINE, NULL, "%s %s",
                            client_url(doctor->client), json_text_or(version, "version", "?"));
}

void doctor_executors(struct doctor *doctor)
{
        scoped(json) json_t *answer = NULL;
        struct error err = {0};
        const json_t *list;
        int64_t slots = 0;
        size_t living = 0;

        if (client_get(doctor->client, &answer, "/api/v1/executors", &err) < 0) {
                doctor_tell(doctor, "executors", DOCTOR_ERROR, NULL, "%s", err.text);
                return;
        }
        list = json_object_get(answer, "executors");
        for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *one = json_array_get(list, i);

                living++;
                slots += json_int_or(one, "slots", 0);
        }
        if (!living)
                doctor_tell(doctor, "executors", DOCTOR_ERROR, "start one: 'argon up' brings one",
                            "none: no job can run");
        else
                doctor_tell(doctor, "executors", DOCTOR_FINE, NULL, "%zu, %lld jobs at once",
                            living, (long long)slots);
}

static bool is_loopback(const char *url)
{
        const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;

        return text_starts(host, "127.") || text_starts(host, "localhost") ||
               text_starts(host, "[::1]") || text_starts(host, "0.0.0.0");
}

/* The address in links is asked for the same server: another one may answer at it. */
void doctor_url(struct doctor *doctor)
{
        scoped(json) json_t *here = NULL;
        scoped(json) json_t *outside = NULL;
        scoped_text char *url = NULL;
        struct error err = {0};

        here = version_of(doctor, client_url(doctor->client), &err);
        if (!here)
                return;
        url = text_copy(json_text_or(here, "url", ""));
        if (!*url)
                return;
        outside = version_of(doctor, url, &err);
        if (!outside)
                doctor_tell(doctor, "url", DOCTOR_ERROR,
                            "set ARGON_URL to the address by which the server is seen from outside",
                            "ARGON_URL %s does not lead here: %s", url, err.text);
        else if (strcmp(json_text_or(here, "instance", "1"),
                        json_text_or(outside, "instance", "2")) != 0)
                doctor_tell(doctor, "url", DOCTOR_ERROR, "point the tunnel or proxy at this server",
                            "ARGON_URL %s leads to another server", url);
        else if (is_loopback(url))
                doctor_tell(doctor, "url", DOCTOR_WARNING, TUNNEL,
                            "%s is seen from this machine only: a forge elsewhere cannot deliver, "
                            "and links in mails lead nowhere",
                            url);
        else
                doctor_tell(doctor, "url", DOCTOR_FINE, NULL, "%s leads here", url);
}

static int64_t bad_signatures(struct doctor *doctor)
{
        scoped_str struct str text = STR_INIT;
        struct error err = {0};
        const char *at;
        long long n = 0;

        if (client_text(doctor->client, &text, "/metrics", &err) < 0)
                return 0;
        at = strstr(text.data, BAD_SIGNATURES);
        if (at && sscanf(at + strlen(BAD_SIGNATURES), "%lld", &n) != 1)
                n = 0;
        return n;
}

void doctor_webhook(struct doctor *doctor)
{
        scoped(json) json_t *answer = NULL;
        int64_t refused = bad_signatures(doctor);
        struct error err = {0};
        const json_t *last;

        if (client_get(doctor->client, &answer, "/api/v1/deliveries?limit=1", &err) < 0) {
                doctor_tell(doctor, "webhook", DOCTOR_ERROR, NULL, "%s", err.text);
                return;
        }
        last = json_array_get(json_object_get(answer, "deliveries"), 0);
        if (!last)
                doctor_tell(doctor, "webhook", DOCTOR_WARNING,
                            "add a webhook to the repository: URL/webhook, JSON, the secret of "
                            "DATA/webhook-secret, events push and pull request",
                            "no delivery has come yet");
        else
                doctor_tell(doctor, "webhook", DOCTOR_FINE, NULL, "last delivery: %s of %s, %s%s%s",
                            json_text_or(last, "event", "?"), json_text_or(last, "repository", "?"),
                            json_text_or(last, "result", "?"),
                            json_text_or(last, "reason", NULL) ? ": " : "",
                            json_text_or(last, "reason", ""));
        if (refused)
                doctor_tell(doctor, "signatures", DOCTOR_WARNING,
                            "use the same secret here (DATA/webhook-secret, ARGON_WEBHOOK_SECRET) "
                            "and in the forge's settings",
                            "%lld deliveries since the start had a missing or wrong signature",
                            (long long)refused);
}
