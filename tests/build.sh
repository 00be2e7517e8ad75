# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh disable=SC2034,SC2154 # sourced: what it sets is used there, and so is what it uses
#
# For run.sh, check.sh and demo.sh: the packages that are needed, and the builds. Sourced, with $source set to the checkout.

builds=$source/build
if ! mkdir -p "$builds" 2>/dev/null || ! [ -w "$builds" ]; then
    builds=${TMPDIR:-/tmp}/apmigd-tests-$(id -u)
fi
results=$builds/results
mkdir -p "$results"
python=/usr/bin/python3 # Debian's, which Debian's pytest belongs to; another one may come first in PATH
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # root of a bare system may lack them

build_packages='gcc libc6-dev meson ninja-build pkg-config libglib2.0-dev libjson-glib-dev libxml2-dev libsystemd-dev
    libvirt-dev libgudev-1.0-dev'
format_packages='clang-format-14'
lint_packages='pyflakes3 shellcheck'
bus_packages='dbus-daemon procps systemd systemd-journal-remote python3 python3-pytest python3-pytest-xdist python3-gi python3-jsonschema
    python3-prometheus-client mandoc openssh-client dropbear-bin'
hosts_packages='dbus dbus-daemon libglib2.0-bin systemd python3 python3-pytest
    python3-gi python3-libvirt polkitd libvirt-daemon-system
    libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 iproute2 util-linux binutils
    openssh-client dropbear-bin'
confinement_packages='python3 python3-pytest make m4 gawk checkpolicy policycoreutils selinux-policy-dev semodule-utils setools apparmor'
fuzz_packages='clang libclang-rt-dev binutils'
vm_packages='debootstrap e2fsprogs qemu-system-x86 python3 util-linux'
s390x_packages='debootstrap gcc-s390x-linux-gnu qemu-user-static python3 util-linux'

# Prints those of the named packages that are not installed.
missing_packages()
{
    for package; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

need_packages()
{
    command -v dpkg-query >/dev/null || return 0
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        # shellcheck disable=SC2086 # a list
        echo "tests/run.sh: packages are missing; as root: apt-get install" $missing >&2
        return 1
    fi
    # shellcheck disable=SC2086 # a list
    echo "installing:" $missing
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list
    apt-get -qq install -y --no-install-recommends $missing >"$results/apt.log" 2>&1 ||
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >"$results/apt.log" 2>&1 ||
        { cat "$results/apt.log" >&2; return 1; }
}

# build NAME [MESON OPTION...]: configures once, then builds; $targets alone where that is set
build()
{
    name=$1
    shift
    if ! [ -f "$builds/$name/build.ninja" ]; then
        rm -rf "${builds:?}/$name"
        meson setup "$builds/$name" "$source" -Dwerror=true -Dfailpoints=true "$@" >"$results/$name-build.log" 2>&1 ||
            { tail -n 40 "$results/$name-build.log" >&2; return 1; }
    fi
    # shellcheck disable=SC2086 # names
    ninja -C "$builds/$name" -j "$(nproc)" ${targets-} >>"$results/$name-build.log" 2>&1 ||
        { tail -n 60 "$results/$name-build.log" >&2; return 1; }
}

build_plain()
{
    build plain
}

# What a host gets, and no test.
build_demo()
{
    build demo -Dtests=false
}

build_sanitized()
{
    build sanitized -Db_sanitize=address,undefined -Db_lundef=false
}

# The targets of libFuzzer, and what they are linked to.
build_fuzz()
{
    (
        export CC=clang
        targets=fuzz-targets
        build fuzz -Dfuzzing=true -Dtests=false -Db_sanitize=address,undefined -Db_lundef=false
    )
}

# install_build NAME: as a distribution would install it, in $builds/NAME-install
install_build()
{
    rm -rf "${builds:?}/$1-install"
    DESTDIR=$builds/$1-install meson install -C "$builds/$1" --no-rebuild --quiet >"$results/install.log" 2>&1 ||
        { cat "$results/install.log" >&2; return 1; }
}
