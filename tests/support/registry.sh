#!/bin/sh
# A registry for images on a free port of this machine (Debian's docker-registry).
#
#   sh tests/support/registry.sh start FOLDER [USER PASSWORD]   prints 127.0.0.1:PORT
#   sh tests/support/registry.sh stop FOLDER
#
# With a user, it answers nobody else.
set -eu

die() { echo "registry.sh: $*" >&2; exit 1; }

folder=${2:?usage: registry.sh start|stop FOLDER [USER PASSWORD]}

free_port() {
        python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() {
        code=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/v2/" || true)
        [ "$code" = 200 ] || [ "$code" = 401 ]
}

start() {
        command -v docker-registry >/dev/null ||
                die "docker-registry is missing: apt-get install docker-registry"
        mkdir -p "$folder"
        port=$(free_port)
        {
                printf 'version: 0.1\nlog: { level: error }\n'
                printf 'storage: { filesystem: { rootdirectory: "%s/data" } }\n' "$folder"
                printf 'http: { addr: "127.0.0.1:%s" }\n' "$port"
                if [ $# -gt 2 ]; then
                        htpasswd -Bbn "$3" "$4" >"$folder/htpasswd"
                        printf 'auth: { htpasswd: { realm: argon, path: "%s/htpasswd" } }\n' "$folder"
                fi
        } >"$folder/config.yml"
        setsid docker-registry serve "$folder/config.yml" >"$folder/log" 2>&1 </dev/null &
        echo $! >"$folder/pid"
        tries=0
        until answers "$port"; do
                tries=$((tries + 1))
                [ $tries -lt 50 ] || die "docker-registry did not start: $(tail -n 3 "$folder/log")"
                sleep 0.2
        done
        echo "127.0.0.1:$port"
}

stop() {
        [ -s "$folder/pid" ] || return 0
        pid=$(cat "$folder/pid")
        kill "$pid" 2>/dev/null || true
        tries=0
        while kill -0 "$pid" 2>/dev/null && [ $tries -lt 25 ]; do
                tries=$((tries + 1))
                sleep 0.2
        done
        kill -KILL "$pid" 2>/dev/null || true
        rm -f "$folder/pid"
}

case $1 in
start) start "$@" ;;
stop) stop ;;
*) die "start or stop" ;;
esac
