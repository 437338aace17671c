#!/bin/sh
# Installs what Argon needs, from Debian's packages and, for the tests, from PyPI.
#
#   tools/deps.sh build    to compile it and to run `make demo`: packages alone
#   tools/deps.sh test     the servers and tools of the test suite, and a Python environment in .cache/
#   tools/deps.sh web      to build the dashboard's pages: this version has none, so nothing
#   tools/deps.sh          build
#
# Asks for root (sudo) only when a package is missing.
set -eu
cd "$(dirname "$0")/.."

build_packages='gcc libc6-dev make meson ninja-build pkg-config musl-tools git ca-certificates
        libmicrohttpd-dev libjansson-dev libyajl-dev libyaml-dev libsqlite3-dev
        libcurl4-openssl-dev libssl-dev bubblewrap openssl curl'
test_packages='clang-14 clang-format-14 libclang-rt-14-dev libcmocka-dev python3 python3-venv
        docker.io debootstrap iptables iproute2 sqlite3 libfaketime procps util-linux gawk
        docker-registry apache2-utils'

say() {
        printf '%s\n' "deps: $*" >&2
}

missing_packages() {
        for package in $1; do
                dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
                        printf '%s ' "$package"
        done
}

install_packages() {
        missing=$(missing_packages "$1")
        [ -n "$missing" ] || return 0
        command -v apt-get >/dev/null || {
                say "these Debian packages are missing, and there is no apt-get: $missing"
                exit 1
        }
        say "installing $missing"
        root=
        [ "$(id -u)" = 0 ] || root=sudo
        export DEBIAN_FRONTEND=noninteractive
        $root apt-get update -qq
        # shellcheck disable=SC2086
        $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# The same folder serves until the list of requirements changes.
python_environment() {
        wanted=$(sha256sum tests/requirements.txt | cut -c1-64)
        [ "$(cat .cache/venv/made-from 2>/dev/null)" = "$wanted" ] && return 0
        say "making the Python environment of the tests in .cache/venv"
        rm -rf .cache/venv
        mkdir -p .cache
        /usr/bin/python3 -m venv .cache/venv
        .cache/venv/bin/pip install -q --disable-pip-version-check -r tests/requirements.txt
        printf '%s' "$wanted" >.cache/venv/made-from
}

case "${1:-build}" in
build)
        install_packages "$build_packages"
        ;;
test)
        install_packages "$build_packages $test_packages"
        python_environment
        ;;
web)
        say "nothing to install: this version has no pages to build"
        ;;
*)
        sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
