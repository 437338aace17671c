#!/bin/sh
# Runs every fuzz target with libFuzzer, ASan and UBSan for FUZZ_SECONDS (60) each. New inputs are
# kept in .cache/fuzz/NAME; a crash ends with 1 and leaves its input there.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
[ -f build-fuzz/build.ninja ] || CC=clang-14 meson setup build-fuzz -Dfuzz=true \
        -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
ninja -C build-fuzz >/dev/null
status=0
for target in build-fuzz/fuzz/*_fuzz; do
        name=$(basename "$target" _fuzz)
        found=.cache/fuzz/$name
        mkdir -p "$found"
        printf '%s: ' "$name"
        if "$target" -max_total_time="$seconds" -rss_limit_mb=1024 -artifact_prefix="$found/" \
                "$found" "fuzz/corpus/$name" >"$found.log" 2>&1; then
                grep -E '^Done ' "$found.log" || tail -n 1 "$found.log"
        else
                status=1
                echo "FAILED, see $found.log"
                tail -n 30 "$found.log"
        fi
done
exit $status
