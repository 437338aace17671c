#!/bin/sh
# Makes the images of the tests from Debian's packages and hands them to Docker:
#
#   argon-test:base   a small Debian with Python, pip, git and make
#   python:3.10       the same under the name that users write
#
#   sh tests/support/image.sh [--cache FOLDER] [--tar]
#
# The packages come from the mirror that apt of this machine uses. The result is kept as
# FOLDER/image-HASH.tar (default .cache of the checkout), HASH being that of the recipe below: the
# first run takes a minute or two and needs root and debootstrap, later ones only Docker.
# --tar makes the tar and prints its path, without Docker.
set -eu

SUITE=bookworm
INCLUDE=ca-certificates,git,make,procps,python3,python3-pip,python3-venv,sudo
RECIPE=1 # count up when the commands below change what comes out

here=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
cache=$here/.cache
tar_only=false
while [ $# -gt 0 ]; do
        case $1 in
        --cache) cache=$2; shift 2 ;;
        --tar) tar_only=true; shift ;;
        *) echo "usage: image.sh [--cache FOLDER] [--tar]" >&2; exit 2 ;;
        esac
done

say() { echo "image.sh: $*" >&2; }
die() { say "$*"; exit 1; }

mkdir -p "$cache"
hash=$(printf '%s\n' "$SUITE" "$INCLUDE" "$RECIPE" | sha256sum | cut -c1-12)
tar=$cache/image-$hash.tar

exec 9>"$cache/image.lock"
flock 9 # one at a time: tests of several suites may ask at once

mirror() {
        apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null |
                awk -v suite=$SUITE '$2 == suite { print $1; exit }'
}

make_tar() {
        [ "$(id -u)" = 0 ] || die "debootstrap needs root: run it once as root, then $tar is kept"
        command -v debootstrap >/dev/null ||
                die "debootstrap is missing; install it: apt-get install debootstrap"
        from=$(mirror)
        [ -n "$from" ] || die "apt of this machine knows no mirror of Debian $SUITE"
        root=$(mktemp -d "${TMPDIR:-/tmp}/argon-image.XXXXXX")
        trap 'rm -rf --one-file-system "$root" "$tar.part"' EXIT
        trap 'exit 1' HUP INT TERM
        say "debootstrap $SUITE into $root (a minute or two, once)"
        mkdir -p "$cache/debs"
        debootstrap --variant=minbase --cache-dir="$cache/debs" --include="$INCLUDE" \
                "$SUITE" "$root" "$from" >"$cache/image.log" 2>&1 ||
                die "debootstrap failed: $(tail -n 3 "$cache/image.log")"
        ln -s python3 "$root/usr/bin/python"
        rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED # as in the image that it stands for
        rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
                "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
        : >"$root/etc/resolv.conf"
        tar --numeric-owner --one-file-system -C "$root" -cf "$tar.part" .
        mv "$tar.part" "$tar"
        rm -rf --one-file-system "$root"
        trap - EXIT
        find "$cache" -maxdepth 1 -name 'image-*.tar' ! -name "image-$hash.tar" -delete
}

[ -f "$tar" ] || make_tar
if $tar_only; then
        echo "$tar"
        exit 0
fi
have=$(docker image inspect -f '{{index .Config.Labels "argon.recipe"}}' argon-test:base \
        2>/dev/null || true)
if [ "$have" != "$hash" ]; then
        docker import --change "LABEL argon.recipe=$hash" --change 'CMD ["sh"]' \
                --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
                "$tar" argon-test:base >/dev/null || die "docker import failed"
fi
docker image inspect python:3.10 >/dev/null 2>&1 && [ "$have" = "$hash" ] ||
        docker tag argon-test:base python:3.10
