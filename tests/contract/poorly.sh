#!/bin/sh
# Runs a test of an engine with less than root on a machine of its own:
#
#   poorly.sh nobody TEST       as a user without any rights
#   poorly.sh no-cgroups TEST   as root, but with the cgroups read-only (as in many containers)
#
# What is not root already runs the test as it is.
set -eu

how=$1
test=$2
[ "$(id -u)" = 0 ] || exec "$test"

case $how in
nobody)
        # the build may lie where others cannot look
        folder=$(mktemp -d /tmp/argon-poorly.XXXXXX)
        trap 'rm -rf "$folder"' EXIT
        chmod 0755 "$folder"
        cp "$test" "$folder/test"
        cp "$ARGON_STEP" "$folder/argon-step"
        cp "$ARGON_PROBE" "$folder/probe"
        # the one thing that may be left to it: to talk to Docker
        socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
        group=$(stat -c %g "${socket#unix://}" 2>/dev/null || echo 65534)
        cd /
        ARGON_STEP=$folder/argon-step ARGON_PROBE=$folder/probe HOME=/nonexistent \
                setpriv --reuid=65534 --regid=65534 --groups="$group" "$folder/test"
        ;;
no-cgroups)
        exec unshare -m sh -eu -c '
                mount --make-rprivate /
                for point in $(awk "\$3 ~ /^cgroup/ { print \$2 }" /proc/mounts); do
                        mount -o remount,bind,ro "$point"
                done
                exec "$1"' sh "$test"
        ;;
*)
        echo "usage: poorly.sh nobody|no-cgroups TEST" >&2
        exit 2
        ;;
esac
