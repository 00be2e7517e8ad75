#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Shows the main job of apmigd on real libvirt hosts, made of namespaces of this machine. Run it as root. It installs what is
# missing, builds, and cleans up after itself, also when interrupted.
#
#     tests/demo.sh         two hosts: a migration is under way, a crypto administrator asks for the lock, the migration is
#                           ended, others are refused, and the release lets them go
#     tests/demo.sh fleet   three hosts, one desk: one lock and one GO for all of them, and a release that is refused until
#                           their keys are in step
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/build.sh
. "$source/tests/build.sh"

case $#:${1-} in
    0:) demo=demo.py ;;
    1:fleet) demo=demo_fleet.py ;;
    *)
        sed -n '4,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
if [ "$(id -u)" -ne 0 ]; then
    echo 'tests/demo.sh makes namespaces and mounts: run it as root' >&2
    exit 1
fi
echo 'Building apmigd ...'
# shellcheck disable=SC2086 # lists
need_packages $build_packages $hosts_packages
build_demo
install_build demo
exec "$python" "$source/tests/hosts/$demo" "$builds/demo-install"
