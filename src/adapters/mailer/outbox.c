/*
 * A mail is a file that appears whole under its final name or not at all. The name is made from the
 * mail itself (repository, build, result, a hash of the Message-ID), so the same mail sent twice is
 * one file.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "adapters/mailer/mailers.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/mailer.h"

#include "base/banned.h"

#define FOLDER_NAME "outbox"
#define NAME_PART_MAX 64

struct outbox {
        struct mailer mailer;
        char *folder;
};

/* The value of a header, as far as a file's name may hold it: other characters become '-'. */
static bool add_header(struct str *ret, const char *message, const char *name)
{
        size_t len = strlen(name);
        const char *line = message;

        while (line && *line && *line != '\r' && *line != '\n') {
                if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
                        const char *at = line + len + 1;
                        size_t n;

                        at += strspn(at, " ");
                        n = strcspn(at, "\r\n");
                        for (size_t i = 0; i < n && i < NAME_PART_MAX; i++) {
                                unsigned char c = (unsigned char)at[i];
                                bool good = c < 0x80 && (isalnum(c) || c == '_' || (c == '.' && i));

                                str_add_char(ret, good ? (char)c : '-');
                        }
                        return n > 0;
                }
                line = strchr(line, '\n');
                line = line ? line + 1 : NULL;
        }
        return false;
}

/* FNV-1a: only to tell names apart. */
static unsigned hash(const char *text, size_t n)
{
        unsigned value = 2166136261u;

        for (size_t i = 0; i < n; i++)
                value = (value ^ (unsigned char)text[i]) * 16777619u;
        return value;
}

static void make_name(struct str *ret, const char *message, size_t n)
{
        scoped_str struct str id = STR_INIT;
        scoped_str struct str number = STR_INIT;

        if (!add_header(ret, message, "X-Argon-Repository"))
                str_add(ret, "mail");
        if (add_header(&number, message, "X-Argon-Build")) {
                str_add_char(ret, '-');
                for (size_t i = number.len; i < 6; i++)
                        str_add_char(ret, '0');
                str_add(ret, number.data);
        }
        str_add_char(ret, '-');
        if (!add_header(ret, message, "X-Argon-Result"))
                str_add(ret, "note");
        if (add_header(&id, message, "Message-ID"))
                str_printf(ret, "-%08x.eml", hash(id.data, id.len));
        else
                str_printf(ret, "-%08x.eml", hash(message, n));
}

static int outbox_send(struct mailer *mailer, const char *from, const char *to, const char *message,
                       size_t n, char ret_detail[128], struct error *err)
{
        struct outbox *outbox = (struct outbox *)mailer;
        scoped_str struct str name = STR_INIT;
        scoped_text char *text = xmalloc(n + 1);
        scoped_text char *path = NULL;

        memcpy(text, message, n);
        text[n] = '\0';
        make_name(&name, text, n);
        path = fs_path(outbox->folder, name.data);
        if (fs_mkdirs(outbox->folder, 0700, err) < 0 ||
            fs_write_atomic(path, message, n, 0600, err) < 0) {
                /* a full or missing disk may come back; the mail waits */
                if (err)
                        err->kind = ERROR_UNAVAILABLE;
                return -ERROR_UNAVAILABLE;
        }
        snprintf(ret_detail, 128, "%s", path);
        return 0;
}

static void outbox_close(struct mailer *mailer)
{
        struct outbox *outbox = (struct outbox *)mailer;

        free(outbox->folder);
        free(outbox);
}

static const struct mailer_ops outbox_ops = {.send = outbox_send, .close = outbox_close};

int mailer_open_outbox(struct mailer **ret, const char *url, void *context, struct error *err)
{
        const char *folder = strchr(url, ':') ? strchr(url, ':') + 1 : "";
        struct outbox *outbox;

        if (!folder[0] && !context)
                return error_set(err, ERROR_INVALID,
                                 "the outbox has no folder; write outbox:FOLDER");
        outbox = xcalloc(1, sizeof(*outbox));
        outbox->mailer.ops = &outbox_ops;
        outbox->folder = folder[0] ? text_copy(folder) : fs_path(context, FOLDER_NAME);
        if (fs_mkdirs(outbox->folder, 0700, err) < 0) {
                outbox_close(&outbox->mailer);
                return error_wrap(err, "make the outbox");
        }
        *ret = &outbox->mailer;
        return 0;
}
