#!/bin/sh
# Starts or stops what outlives single tests: a Docker daemon where none answers, and the images.
#
#   sh tests/support/servers.sh start    prints the DOCKER_HOST to use
#   sh tests/support/servers.sh stop
set -eu
cd "$(dirname "$0")/../.."

case "${1:-}" in
start)
        mkdir -p .cache
        DOCKER_HOST=$(sh tests/support/dockerd.sh start .cache/docker)
        export DOCKER_HOST
        sh tests/support/image.sh >&2
        printf '%s\n' "$DOCKER_HOST"
        ;;
stop)
        sh tests/support/dockerd.sh stop .cache/docker
        ;;
*)
        echo "usage: servers.sh start|stop" >&2
        exit 2
        ;;
esac
