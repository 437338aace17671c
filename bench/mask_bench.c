/*
 * How fast output is masked on one core: megabytes per second for text without and with secrets.
 *
 *         mask_bench [MEGABYTES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "base/str.h"
#include "domain/mask.h"

#include "base/banned.h"

#define CHUNK (64 * 1024)
#define MB 1000000

static struct mask_set *make_set(int n)
{
        struct mask_set *set = mask_set_new();

        for (int i = 0; i < n; i++) {
                char *secret =
                        text_format("s3cr3t/%08x+value \"%d\" of the bench", i * 2654435761u, i);

                mask_set_add(set, secret, strlen(secret), NULL);
                free(secret);
        }
        return set;
}

/* Lines as compilers write them; every `every`th line shows a secret (0: none), some are coloured.
 */
static void make_text(struct str *text, size_t size, int every, bool colour)
{
        for (int line = 1; text->len < size; line++) {
                if (colour && line % 4 == 0)
                        str_printf(text, "\033[1;32mok\033[0m %d - case \033[33m%x\033[0m passed\n",
                                   line, line * 7919);
                else if (every && line % every == 0)
                        str_printf(text, "token=s3cr3t/%08x+value \"%d\" of the bench\n",
                                   3 * 2654435761u, 3);
                else
                        str_printf(text, "[%d/900] Compiling C object src/base/lib%x.a.p/str.c.o\n",
                                   line, line * 31);
        }
}

/* Time that this process had a core: what others do on the machine does not count. */
static double cpu_seconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run(const char *name, int secrets, int every, bool colour, size_t bytes)
{
        struct mask_set *set = make_set(secrets);
        struct mask_stream *stream = mask_stream_new(set);
        struct str text = STR_INIT;
        struct str out = STR_INIT;
        size_t done = 0;
        double start;
        double seconds;

        make_text(&text, 4 * MB, every, colour);
        start = cpu_seconds();
        while (done < bytes) {
                size_t at = done % (text.len - CHUNK);

                mask_stream_feed(stream, text.data + at, CHUNK, &out);
                str_clear(&out);
                done += CHUNK;
        }
        seconds = cpu_seconds() - start;
        printf("%-44s %5d %10.0f\n", name, secrets, (double)done / MB / seconds);
        mask_stream_free(stream);
        mask_set_free(set);
        str_done(&text);
        str_done(&out);
}

int main(int argc, char **argv)
{
        int64_t megabytes = 400;

        if (argc > 1 && parse_int(&megabytes, argv[1], 1, 100000, NULL) < 0) {
                fprintf(stderr, "usage: mask_bench [MEGABYTES]\n");
                return 2;
        }
        printf("%-44s %5s %10s\n", "text", "secrets", "MB/s");
        run("a build's log", 1, 0, false, (size_t)megabytes * MB);
        run("a build's log", 10, 0, false, (size_t)megabytes * MB);
        run("a build's log", 100, 0, false, (size_t)megabytes * MB);
        run("a build's log", 1000, 0, false, (size_t)megabytes * MB);
        run("every tenth line shows a secret", 10, 10, false, (size_t)megabytes * MB);
        run("a quarter of the lines in colour", 10, 0, true, (size_t)megabytes * MB);
        return 0;
}
