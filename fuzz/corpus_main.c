/*
 * Runs a fuzz target over a folder of inputs as a plain test: each whole, and each cut short and
 * with a byte changed at a few places, so that a small corpus reaches a little further.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define INPUT_BYTES_MAX (1 << 20)
#define PLACES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_variants(const struct str *input)
{
        /* copies of the exact size, so that a read past the end is seen */
        for (size_t i = 0; i <= PLACES; i++) {
                size_t n = i == 0 ? input->len : input->len * (i - 1) / PLACES;
                uint8_t *cut = xmalloc(n);

                memcpy(cut, input->data, n);
                LLVMFuzzerTestOneInput(cut, n);
                if (n) {
                        cut[n - 1] = (uint8_t)(cut[n - 1] ^ (1u << (i % 8)));
                        LLVMFuzzerTestOneInput(cut, n);
                }
                free(cut);
        }
}

int main(int argc, char **argv)
{
        DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
        struct dirent *entry;
        int inputs = 0;

        if (!dir) {
                fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
                return 2;
        }
        while ((entry = readdir(dir))) {
                struct str input = STR_INIT;
                char *path = text_format("%s/%s", argv[1], entry->d_name);
                struct error err = {0};

                if (entry->d_name[0] != '.') {
                        if (str_read_file(&input, path, INPUT_BYTES_MAX, &err) < 0) {
                                fprintf(stderr, "%s\n", err.text);
                                return 1;
                        }
                        run_variants(&input);
                        inputs++;
                }
                str_done(&input);
                free(path);
        }
        closedir(dir);
        printf("%d inputs\n", inputs);
        return inputs ? 0 : 1;
}
