/*
 * A job may print anything, a message may hold only UTF-8. Ordinary output, colour codes included,
 * travels as `message` alone. Where its bytes are no UTF-8, hold a NUL, or would swell beyond
 * PLAIN_MAX when encoded (a control character takes six bytes), `raw` holds them in base64 and
 * `message` is what a person can read: every run of such bytes is one U+FFFD.
 *
 * Why that always fits: base64 of 64 KiB takes 87 KiB. The worst `message` beside it repeats a
 * quote and a bad byte: five bytes for two, 160 KiB. 247 KiB and the small members are below
 * 256 KiB; `context` is of services' own lines alone, which hold no 64 KiB of output.
 */
#include "wire/log_entry.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

#define PLAIN_MAX (160 * 1024)
#define CONTEXT_MAX (64 * 1024)
#define NAME_MAX_BYTES 512
#define REPLACEMENT "\xef\xbf\xbd"
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static const char *const streams[] = {
        [LOG_STREAM_ARGON] = "argon",
        [LOG_STREAM_STDOUT] = "stdout",
        [LOG_STREAM_STDERR] = "stderr",
};

#define FIELD(name, type, member, flags, max)                              \
        {                                                                  \
                name, type, offsetof(struct log_entry, member), flags, max \
        }

static const struct codec_field head_fields[] = {
        FIELD("id", CODEC_TEXT, id, CODEC_REQUIRED, NAME_MAX_BYTES),
        FIELD("timestamp", CODEC_TIME_NS, timestamp_ns, CODEC_REQUIRED, 0),
        FIELD("service", CODEC_TEXT, service, CODEC_FILLED, NAME_MAX_BYTES),
        FIELD("job_id", CODEC_TEXT, job_id, CODEC_REQUIRED, NAME_MAX_BYTES),
        FIELD("build_id", CODEC_TEXT, build_id, 0, NAME_MAX_BYTES),
        FIELD("attempt", CODEC_INT, attempt, 0, 0),
};

static const struct codec_field output_fields[] = {
        FIELD("step", CODEC_INT, step, 0, 0),
        FIELD("seq", CODEC_INT64, seq, 0, 0),
        FIELD("first_line", CODEC_INT64, first_line, 0, 0),
        FIELD("lines", CODEC_INT64, lines, 0, 0),
        FIELD("offset", CODEC_INT64, offset, 0, 0),
        FIELD("ms", CODEC_INT64, ms, 0, 0),
        FIELD("ended", CODEC_BOOL, ended, 0, 0),
};

struct log_entry *log_entry_new(void)
{
        struct arena *arena = arena_new();
        struct log_entry *entry = arena_alloc(arena, sizeof(*entry));

        *entry = (struct log_entry){
                .arena = arena,
                .id = "",
                .service = "",
                .severity = LOG_INFO,
                .build_id = "",
                .job_id = "",
                .bytes = "",
        };
        return entry;
}

void log_entry_free(struct log_entry *entry)
{
        if (entry)
                arena_free(entry->arena);
}

static bool is_control(unsigned char c)
{
        return c < 0x20 && c != '\n' && c != '\t' && c != '\r';
}

static bool is_plain(const char *bytes, size_t n)
{
        size_t size = n;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)bytes[i];

                if (c == '\0')
                        return false;
                if (c < 0x20 || c == '"' || c == '\\')
                        size += is_control(c) ? 5 : 1;
        }
        return size <= PLAIN_MAX && utf8_valid(bytes, n);
}

/* What a person can read of it; see the top. A bad byte beside a control character makes one run
 * of both, so that the sum at the top holds. */
static void add_readable(struct str *str, const char *bytes, size_t n)
{
        scoped_str struct str valid = STR_INIT;
        bool in_run = false;

        str_add_utf8(&valid, bytes, n);
        for (size_t i = 0; i < valid.len; i++) {
                bool mark = strncmp(valid.data + i, REPLACEMENT, 3) == 0;

                if (!mark && !is_control((unsigned char)valid.data[i])) {
                        str_add_char(str, valid.data[i]);
                        in_run = false;
                        continue;
                }
                if (!in_run)
                        str_add(str, REPLACEMENT);
                in_run = true;
                i += mark ? 2 : 0;
        }
}

static json_t *base64(const char *bytes, size_t n)
{
        scoped_text char *text = xmalloc((n + 2) / 3 * 4 + 1);
        int len = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes, (int)n);

        return json_stringn_nocheck(text, (size_t)len);
}

static void encode_bytes(json_t *json, const char *bytes, size_t n)
{
        scoped_str struct str readable = STR_INIT;

        if (n > LOG_ENTRY_BYTES_MAX)
                n = LOG_ENTRY_BYTES_MAX;
        if (is_plain(bytes, n)) {
                json_object_set_new(json, "message", json_stringn_nocheck(bytes, n));
                return;
        }
        add_readable(&readable, bytes, n);
        json_object_set_new(json, "message", json_stringn_nocheck(readable.data, readable.len));
        json_object_set_new(json, "raw", base64(bytes, n));
}

/* The context is JSON already; one that is not, or that is too long, travels as a text. */
static json_t *encode_context(const char *context)
{
        size_t n = strlen(context);
        json_t *json = NULL;

        if (json_parse(&json, context, n, CONTEXT_MAX, NULL) == 0)
                return json;
        return codec_text(context, n, WIRE_TEXT_MAX, false);
}

void log_entry_encode(const struct log_entry *entry, struct str *ret)
{
        scoped(json) json_t *json = json_object();

        codec_encode(json, entry, head_fields, 4);
        encode_bytes(json, entry->bytes ? entry->bytes : "", entry->bytes ? entry->n : 0);
        json_set_text(json, "severity", log_severity_name(entry->severity));
        json_set_int(json, "v", WIRE_VERSION);
        codec_encode(json, entry, head_fields + 4, COUNT(head_fields) - 4);
        if (entry->seq > 0) {
                codec_encode(json, entry, output_fields, COUNT(output_fields));
                json_set_text(json, "stream", streams[entry->stream]);
        } else if (entry->context && *entry->context) {
                json_object_set_new(json, "context", encode_context(entry->context));
        }
        str_add_json(ret, json);
}

static int decode_severity(struct log_entry *entry, const json_t *json, struct error *err)
{
        const char *word;
        int r;

        r = json_get_text(&word, json, "severity", err);
        if (r < 0)
                return r;
        for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
                if (strcmp(log_severity_name((enum log_severity)i), word) == 0) {
                        entry->severity = (enum log_severity)i;
                        return 0;
                }
        }
        return error_set(err, ERROR_INVALID,
                         "member \"severity\" has the unknown value '%.40s': DEBUG, INFO, WARNING "
                         "and ERROR are known",
                         word);
}

static int decode_stream(struct log_entry *entry, const json_t *json, struct error *err)
{
        const char *word = json_text_or(json, "stream", "");

        for (size_t i = 0; i < COUNT(streams); i++) {
                if (strcmp(streams[i], word) == 0) {
                        entry->stream = (enum log_stream)i;
                        return 0;
                }
        }
        return error_set(err, ERROR_INVALID, "member \"stream\" has the unknown value '%.40s'",
                         word);
}

static int decode_raw(struct log_entry *entry, const json_t *raw, struct error *err)
{
        size_t n = json_string_length(raw);
        const char *text = json_string_value(raw);
        unsigned char *bytes;
        int len;

        if (!text)
                return error_set(err, ERROR_INVALID, "member \"raw\" is not a text");
        if (n % 4 || n / 4 * 3 > LOG_ENTRY_BYTES_MAX + 2)
                return error_set(err, ERROR_INVALID,
                                 "member \"raw\" is no base64 of at most %d "
                                 "bytes",
                                 LOG_ENTRY_BYTES_MAX);
        bytes = arena_alloc(entry->arena, n / 4 * 3 + 1);
        len = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)n);
        if (len < 0)
                return error_set(err, ERROR_INVALID, "member \"raw\" is no base64");
        for (size_t i = n; i > 0 && text[i - 1] == '=' && len > 0; i--)
                len--;
        entry->bytes = (const char *)bytes;
        entry->n = (size_t)len;
        return 0;
}

static int decode_bytes(struct log_entry *entry, const json_t *json, struct error *err)
{
        const json_t *raw = json_object_get(json, "raw");
        const json_t *message = json_object_get(json, "message");

        if (!json_is_string(message))
                return error_set(err, ERROR_INVALID, "member \"message\" is %s",
                                 message ? "not a text" : "missing");
        if (raw && !json_is_null(raw))
                return decode_raw(entry, raw, err);
        entry->n = json_string_length(message);
        entry->bytes = arena_copy_n(entry->arena, json_string_value(message), entry->n);
        return 0;
}

static int decode_context(struct log_entry *entry, const json_t *json)
{
        const json_t *context = json_object_get(json, "context");
        scoped_str struct str text = STR_INIT;

        if (json_is_string(context)) {
                entry->context = arena_copy(entry->arena, json_string_value(context));
        } else if (json_is_object(context) || json_is_array(context)) {
                str_add_json(&text, context);
                entry->context = arena_copy(entry->arena, text.data);
        }
        return 0;
}

static int check_output(const struct log_entry *entry, struct error *err)
{
        if (!*entry->job_id || entry->attempt < 1)
                return error_set(err, ERROR_INVALID, "output of a job without job_id or attempt");
        if (entry->n > LOG_ENTRY_BYTES_MAX)
                return error_set(err, ERROR_INVALID, "output of %zu bytes is over the limit of %d",
                                 entry->n, LOG_ENTRY_BYTES_MAX);
        if (entry->first_line < 0 || entry->lines < 0 || entry->lines > (int64_t)entry->n ||
            entry->offset < 0 || entry->step < -1 || entry->seq > INT64_C(1) << 40 ||
            entry->first_line > INT64_C(1) << 48 || entry->offset > INT64_C(1) << 56)
                return error_set(err, ERROR_INVALID,
                                 "output with impossible members: seq %lld, first_line %lld, lines "
                                 "%lld, offset %lld, %zu bytes",
                                 (long long)entry->seq, (long long)entry->first_line,
                                 (long long)entry->lines, (long long)entry->offset, entry->n);
        return 0;
}

static int decode(struct log_entry *entry, const json_t *json, struct error *err)
{
        int r;

        r = codec_decode(entry, entry->arena, json, head_fields, COUNT(head_fields), err);
        if (r == 0)
                r = decode_severity(entry, json, err);
        if (r == 0)
                r = decode_bytes(entry, json, err);
        if (r == 0)
                r = codec_decode(entry, entry->arena, json, output_fields, COUNT(output_fields),
                                 err);
        if (r < 0)
                return r;
        if (entry->seq < 1) {
                entry->seq = 0;
                return decode_context(entry, json);
        }
        r = decode_stream(entry, json, err);
        return r < 0 ? r : check_output(entry, err);
}

int log_entry_decode(struct log_entry **ret, const char *text, size_t n, struct error *err)
{
        scoped(log_entry) struct log_entry *entry = log_entry_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = codec_parse(&json, text, n, err);
        if (r == 0)
                r = decode(entry, json, err);
        if (r < 0) {
                error_wrap(err, "message for the logger");
                return r;
        }
        *ret = take(entry);
        return 0;
}
