#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Installs what is missing, builds, and runs test suites. The last line says what came of it.
#
#     tests/run.sh                          unit bus sanitize hosts vm: what CI runs
#     tests/run.sh unit                     policy, parsers, store; with a bounded simulation
#     tests/run.sh bus                      the daemon on a private bus
#     tests/run.sh sanitize                 unit and bus again, under the address and undefined sanitizers
#     tests/run.sh hosts                    two real libvirt hosts with real guests; as root
#     tests/run.sh vm                       a machine with VFIO devices that migrate, and systemd; as root
#     tests/run.sh vm-all                   the same with all its cases
#     tests/run.sh moments COUNT [SEED]     in that machine, locks at so many random moments of migrations
#     tests/run.sh vm-bench [ROUNDS]        in that machine, how fast migrations are ended
#     tests/run.sh simulate SECONDS [SEED]  the simulation, longer or of one seed
#
# Several suites may be named. PYTEST_ADDOPTS reaches pytest, as in PYTEST_ADDOPTS='-k test_take -x'.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/build.sh
. "$source/tests/build.sh"
total_passed=0 total_failed=0 total_skipped=0

usage()
{
    sed -n '4,/^set -eu/s/^# \{0,1\}//p' "$0"
}

# account SUITE SECONDS STATUS [JUNIT FILE]: adds up and prints one line
account()
{
    passed=0 failed=0 skipped=0
    if [ -n "${4-}" ] && [ -s "$4" ]; then
        # shellcheck disable=SC2046 # three numbers
        set -- "$1" "$2" "$3" "$4" $("$python" "$source/tests/tally.py" "$4")
        passed=${5-0} failed=${6-0} skipped=${7-0}
    fi
    # A suite that broke without a failed case of its own is a failure, and so is one that ran nothing.
    if [ "$failed" -eq 0 ] && { [ "$3" -ne 0 ] || [ "$passed" -eq 0 ]; }; then
        failed=1
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    printf '%-14s %4d passed %3d failed %3d skipped  %4d s\n' "$1" "$passed" "$failed" "$skipped" "$2"
}

# run_meson SUITE BUILD
run_meson()
{
    begin=$(date +%s) status=0 junit=$builds/$2/meson-logs/testlog.junit.xml
    rm -f "$junit"
    meson test -C "$builds/$2" --suite unit --no-rebuild --print-errorlogs \
        --num-processes "$(nproc)" >"$results/$1.log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || cat "$results/$1.log"
    account "$1" $(($(date +%s) - begin)) "$status" "$junit"
}

# run_pytest SUITE BUILD FOLDER
run_pytest()
{
    begin=$(date +%s) status=0 junit=$results/$1.xml
    rm -f "$junit"
    APMIGD_BUILD=$builds/$2 APMIGD_INSTALL=$builds/$2-install \
        timeout --foreground -k 20 1500 "$python" -m pytest -p no:cacheprovider -o junit_family=xunit1 -q -ra --junitxml "$junit" \
        "$source/tests/$3" || status=$?
    account "$1" $(($(date +%s) - begin)) "$status" "$junit"
}

suite_unit()
{
    # shellcheck disable=SC2086
    need_packages $build_packages && build_plain && run_meson unit plain
}

suite_bus()
{
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && build_plain && run_pytest bus plain bus
}

suite_sanitize()
{
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && build_sanitized &&
        run_meson unit-sanitized sanitized && run_pytest bus-sanitized sanitized bus
}

suite_hosts()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo 'hosts: makes namespaces and mounts: run it as root' >&2
        return 1
    fi
    # shellcheck disable=SC2086
    need_packages $build_packages $hosts_packages && build_plain && install_plain && run_pytest hosts plain hosts
}

# run_vm SUITE SECONDS [ARGUMENT...]: boots the machine. Making its image takes time besides, once.
run_vm()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo "$1: builds a root file system: run it as root" >&2
        return 1
    fi
    # shellcheck disable=SC2086
    need_packages $vm_packages || return 1
    suite=$1 limit=$2
    shift 2
    begin=$(date +%s) status=0 junit=$results/$suite.xml
    rm -f "$junit"
    timeout --foreground -k 20 $((limit + 1500)) "$python" "$source/tests/vm/run.py" --build "$builds/vm" \
        --junit "$junit" --limit "$limit" "$@" || status=$?
}

suite_vm()
{
    run_vm vm 2700 && account vm $(($(date +%s) - begin)) "$status" "$junit"
}

suite_vm_all()
{
    run_vm vm-all 4800 --thorough && account vm-all $(($(date +%s) - begin)) "$status" "$junit"
}

# suite_moments COUNT [SEED]
suite_moments()
{
    export APMIGD_MOMENTS="$1" APMIGD_SEED="${2-}"
    run_vm moments $((600 + $1 * 60)) --machine service -k test_at_random && account moments $(($(date +%s) - begin)) "$status" "$junit"
}

# suite_vm_bench [ROUNDS]
suite_vm_bench()
{
    rounds=${1-5}
    run_vm vm-bench $((600 + rounds * 600)) --shell "exec python3 /source/tests/vm/bench.py $rounds" || return 1
    [ "$status" -ne 0 ] || total_passed=$((total_passed + 1))
    [ "$status" -eq 0 ] || total_failed=$((total_failed + 1))
}

# suite_simulate SECONDS [SEED]
suite_simulate()
{
    # shellcheck disable=SC2086
    need_packages $build_packages && build_plain || return 1
    begin=$(date +%s) status=0
    "$builds/plain/tests/simulation/simulation" --seconds "$1" ${2:+--seed "$2"} || status=$?
    [ "$status" -ne 0 ] || total_passed=$((total_passed + 1))
    [ "$status" -eq 0 ] || total_failed=$((total_failed + 1))
    echo "simulate: status $status after $(($(date +%s) - begin)) s"
}

is_number()
{
    case ${1-} in '' | *[!0-9]*) return 1 ;; esac
}

[ $# -gt 0 ] || set -- unit bus sanitize hosts vm
while [ $# -gt 0 ]; do
    suite=$1 numbers=''
    shift
    case $suite in
        unit | bus | sanitize | hosts | vm | vm-all | vm-bench) ;;
        simulate | moments) is_number "${1-}" || { usage >&2; exit 2; } ;;
        -h | --help) usage; exit 0 ;;
        *) echo "tests/run.sh: there is no suite \"$suite\"" >&2; usage >&2; exit 2 ;;
    esac
    while is_number "${1-}"; do
        numbers="$numbers $1"
        shift
    done
    # shellcheck disable=SC2086 # numbers
    if ! "suite_$(echo "$suite" | tr - _)" $numbers; then
        echo "$suite: could not be run"
        total_failed=$((total_failed + 1))
    fi
done

line="$total_passed passed, $total_failed failed"
[ "$total_skipped" -eq 0 ] || line="$line, $total_skipped skipped"
echo "$line"
[ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
