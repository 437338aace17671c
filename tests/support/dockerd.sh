#!/bin/sh
# A Docker daemon for the tests where none answers.
#
#   sh tests/support/dockerd.sh start FOLDER   prints the DOCKER_HOST to use
#   sh tests/support/dockerd.sh stop FOLDER    ends the daemon that start began, if it began one
#
# A daemon that answers already (DOCKER_HOST or the usual socket) is taken as it is and never
# stopped. An own one keeps everything in FOLDER: data, state, pid file, socket, log. It needs root.
set -eu

usage() { echo "usage: dockerd.sh start|stop FOLDER" >&2; exit 2; }
die() { echo "dockerd.sh: $*" >&2; exit 1; }

[ $# = 2 ] || usage
mkdir -p "$2"
folder=$(CDPATH= cd -- "$2" && pwd)
pid_file=$folder/dockerd.pid

answers() { DOCKER_HOST=$1 docker version >/dev/null 2>&1; }

# Ours only if the process behind the number is a dockerd of this folder.
own_pid() {
        [ -s "$pid_file" ] || return 1
        pid=$(cat "$pid_file")
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -F -- "--pidfile $pid_file" || return 1
        echo "$pid"
}

# After a SIGKILL the daemon leaves the number of its containerd behind, and while that is a zombie
# (PID 1 of some containers collects nobody) the next daemon would wait for it.
forget_dead_containerd() {
        file=$folder/exec/containerd/containerd.pid
        [ -s "$file" ] || return 0
        state=$(sed 's/.*) //; s/ .*//' "/proc/$(cat "$file")/stat" 2>/dev/null || echo gone)
        case $state in Z | X | gone) rm -f "$file" ;; esac
}

start() {
        host=${DOCKER_HOST:-unix:///var/run/docker.sock}
        if answers "$host"; then
                echo "$host"
                return
        fi
        socket=$folder/docker.sock
        [ ${#socket} -le 100 ] || die "the path of $socket is too long for a socket"
        host=unix://$socket
        if own_pid >/dev/null && answers "$host"; then
                echo "$host"
                return
        fi
        command -v dockerd >/dev/null || die "dockerd is missing: apt-get install docker.io"
        [ "$(id -u)" = 0 ] || die "dockerd needs root, and none answers at $host"
        forget_dead_containerd
        setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" \
                --pidfile "$pid_file" -H "$host" ${ARGON_TEST_DOCKERD_ARGS:-} \
                >"$folder/dockerd.log" 2>&1 </dev/null &
        tries=0
        until answers "$host"; do
                tries=$((tries + 1))
                [ $tries -lt 150 ] && kill -0 $! 2>/dev/null ||
                        die "dockerd did not start: $(tail -n 3 "$folder/dockerd.log")"
                sleep 0.2
        done
        echo "$host"
}

# What a daemon that was killed has left mounted.
unmount_all() {
        awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/self/mounts |
                sort -r | while read -r point; do umount -l "$point" || true; done
}

stop() {
        pid=$(own_pid) || { unmount_all; return 0; }
        kill "$pid"
        tries=0
        while kill -0 "$pid" 2>/dev/null; do
                tries=$((tries + 1))
                [ $tries -lt 150 ] || { kill -KILL "$pid"; break; }
                sleep 0.2
        done
        rm -f "$pid_file" "$folder/docker.sock"
        unmount_all
}

case $1 in
start) start ;;
stop) stop ;;
*) usage ;;
esac
