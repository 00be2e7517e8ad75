#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Shows the main job of apmigd on two real libvirt hosts, made of namespaces of this machine: a migration is under way,
# a crypto administrator asks for the lock, the migration is ended, others are refused, and the release lets them go.
# Run it as root. It installs what is missing, builds, and cleans up after itself, also when interrupted.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/build.sh
. "$source/tests/build.sh"

if [ "$(id -u)" -ne 0 ]; then
    echo 'tests/demo.sh makes namespaces and mounts: run it as root' >&2
    exit 1
fi
echo 'Building apmigd ...'
# shellcheck disable=SC2086 # lists
need_packages $build_packages $hosts_packages
build_demo
install_build demo
exec "$python" "$source/tests/hosts/demo.py" "$builds/demo-install"
