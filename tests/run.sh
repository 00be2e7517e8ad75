#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Installs what is missing, builds, and runs test suites. The last line says what came of it.
#
#     tests/run.sh                          check unit bus sanitize fuzz 30 hosts confinement vm: what CI runs
#     tests/run.sh check                    the sources themselves: tests/check.sh without its suite unit
#     tests/run.sh unit                     policy, parsers, store; with a bounded simulation
#     tests/run.sh bus                      the daemon on a private bus
#     tests/run.sh broker                   what of that depends on the bus, on dbus-broker; as root
#     tests/run.sh sanitize                 unit and bus again, under the address and undefined sanitizers
#     tests/run.sh hosts                    two real libvirt hosts with real guests, and the suite below; as root
#     tests/run.sh libvirt-xml              every XML file that libvirt tests itself with, through hook and daemon; as root
#     tests/run.sh confinement              the SELinux module and the AppArmor profiles: built, and asked what they allow
#     tests/run.sh vm                       a machine with VFIO devices that migrate, and systemd; as root
#     tests/run.sh vm-all                   the same with all its cases
#     tests/run.sh moments COUNT [SEED [FROM]]  in that machine, locks at random moments of migrations: trials FROM (0) to COUNT
#     tests/run.sh vm-bench [ROUNDS]        in that machine, how fast migrations are ended
#     tests/run.sh s390x                    unit and bus for s390x, under user-mode emulation; as root
#     tests/run.sh bench [NAME...]          how fast it is, in tables: those of tests/bench; as root
#     tests/run.sh simulate SECONDS [SEED]  the simulation, longer or of one seed
#     tests/run.sh fuzz SECONDS             each target of libFuzzer (tests/fuzz) for so long, one on each processor; a
#                                           finding's input is kept in build/results/fuzz and tried first the next time
#
# Several suites may be named. PYTEST_ADDOPTS reaches pytest, as in PYTEST_ADDOPTS='-k test_take -x'.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/build.sh
. "$source/tests/build.sh"
total_passed=0 total_failed=0 total_skipped=0 failures=''

usage()
{
    sed -n '4,/^set -eu/s/^# \{0,1\}//p' "$0"
}

# count SUITE SECONDS PASSED FAILED SKIPPED [JUNIT FILE]: adds up and prints one line
count()
{
    [ "$4" -eq 0 ] || name_failures "$1" "${6-}"
    total_passed=$((total_passed + $3))
    total_failed=$((total_failed + $4))
    total_skipped=$((total_skipped + $5))
    printf '%-20s %4d passed %3d failed %3d skipped  %4d s\n' "$1" "$3" "$4" "$5" "$2"
}

# name_failures SUITE [JUNIT FILE]: keeps them for the end, for what a suite printed may be far above
name_failures()
{
    names=''
    [ ! -s "${2-}" ] || names=$("$python" "$source/tests/tally.py" --failed "$2")
    failures="$failures$(printf '%s\n' "${names:-(the suite itself)}" | sed "s|^|failed: $1: |")
"
}

# account SUITE SECONDS STATUS [JUNIT FILE]
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
    count "$1" "$2" "$passed" "$failed" "$skipped" "${4-}"
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

# run_pytest SUITE BUILD FOLDER [OPTION...]
run_pytest()
{
    title=$1 build=$2 folder=$3
    shift 3
    begin=$(date +%s) status=0 junit=$results/$title.xml
    rm -f "$junit"
    APMIGD_BUILD=$builds/$build APMIGD_INSTALL=$builds/$build-install \
        timeout --foreground -k 20 3600 "$python" -m pytest -p no:cacheprovider -o junit_family=xunit1 -q -ra --junitxml "$junit" \
        "$@" "$source/tests/$folder" || status=$?
    account "$title" $(($(date +%s) - begin)) "$status" "$junit"
}

# run_bus SUITE BUILD [SLOWER]: each case has a bus of its own and mostly waits, so that two a processor keep it busy
run_bus()
{
    APMIGD_TESTS_SLOWER=${3:-${APMIGD_TESTS_SLOWER:-1}} run_pytest "$1" "$2" bus -n $(($(nproc) * 2))
}

# The sources are formatted by one version, which later distributions do not have.
suite_check()
{
    # shellcheck disable=SC2086
    need_packages $lint_packages || return 1
    need_packages $format_packages >/dev/null 2>&1 || true
    for name in format shell python layers; do
        if [ "$name" = format ] && ! command -v clang-format-14 >/dev/null; then
            echo 'check format: skipped, for there is no clang-format-14 here'
            count 'check format' 0 0 0 1
            continue
        fi
        begin=$(date +%s) passed=1 failed=0
        "$source/tests/check.sh" "$name" || passed=0 failed=1
        count "check $name" $(($(date +%s) - begin)) "$passed" "$failed" 0
    done
}

suite_unit()
{
    # shellcheck disable=SC2086
    need_packages $build_packages && build_plain && run_meson unit plain
}

suite_bus()
{
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && build_plain && run_bus bus plain
}

# On Debian dbus-broker is the machine's own bus from the next boot on, once it is installed: it is not here for that.
need_broker()
{
    command -v dbus-broker-launch >/dev/null && return 0
    need_packages dbus-broker && { systemctl --quiet disable dbus-broker.service || true; }
}

suite_broker()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo 'broker: the launcher of dbus-broker gets a mount namespace: run it as root' >&2
        return 1
    fi
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && need_broker && build_plain || return 1
    set -- bus/test_contract.py
    for name in audit authorization flood inspect private_socket; do
        set -- "$@" "$source/tests/bus/test_$name.py"
    done
    APMIGD_BUS=broker run_pytest broker plain "$@" -n "$(nproc)"
}

suite_sanitize()
{
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && build_sanitized &&
        run_meson unit-sanitized sanitized && run_bus bus-sanitized sanitized 5
}

suite_hosts()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo 'hosts: makes namespaces and mounts: run it as root' >&2
        return 1
    fi
    # shellcheck disable=SC2086
    need_packages $build_packages $hosts_packages $bus_packages && build_plain && install_build plain && run_pytest hosts plain hosts &&
        run_pytest libvirt-xml plain libvirt-xml
}

suite_libvirt_xml()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo 'libvirt-xml: owns a name on a bus whose policy wants root for it: run it as root' >&2
        return 1
    fi
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && build_plain && run_pytest libvirt-xml plain libvirt-xml
}

suite_confinement()
{
    # shellcheck disable=SC2086
    need_packages $confinement_packages && run_pytest confinement none confinement -rP # what was built, and the transitions
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

# suite_moments COUNT [SEED [FROM]]
suite_moments()
{
    export APMIGD_MOMENTS="$1" APMIGD_SEED="${2-}" APMIGD_FROM="${3-0}"
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

# run_s390x WHAT: see tests/s390x/run.py
run_s390x()
{
    timeout --foreground -k 20 "$s390x_limit" "$python" "$source/tests/s390x/run.py" --build "$builds/s390x" \
        --packages "$build_packages $bus_packages" "$@"
}

suite_s390x()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo 's390x: builds a root file system: run it as root' >&2
        return 1
    fi
    s390x_limit=7200
    # shellcheck disable=SC2086
    need_packages $build_packages $s390x_packages && build_plain && run_s390x build && run_meson unit plain || return 1
    for half in unit bus; do
        begin=$(date +%s) status=0 junit=$builds/s390x/results/$half.xml
        rm -f "$junit"
        run_s390x "$half" >"$results/s390x-$half.log" 2>&1 || status=$?
        [ "$status" -eq 0 ] || cat "$results/s390x-$half.log"
        account "s390x $half" $(($(date +%s) - begin)) "$status" "$junit"
    done
    "$python" "$source/tests/s390x/compare.py" "$builds/plain/meson-logs/testlog.junit.xml" "$builds/s390x/results/unit.xml" ||
        total_failed=$((total_failed + 1))
}

# suite_bench [NAME...]
suite_bench()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo 'bench: owns a name on a bus whose policy wants root for it: run it as root' >&2
        return 1
    fi
    # shellcheck disable=SC2086
    need_packages $build_packages $bus_packages && build_plain || return 1
    [ $# -gt 0 ] || set -- engine hook flood calls take stamps idle abort
    # shellcheck disable=SC2086
    case " $* " in
        *' abort '*) need_packages $hosts_packages && install_build plain || return 1 ;;
    esac
    for name; do
        begin=$(date +%s) passed=1 failed=0
        APMIGD_BUILD=$builds/plain APMIGD_INSTALL=$builds/plain-install \
            "$python" "$source/tests/bench/$name.py" || passed=0 failed=1
        count "bench $name" $(($(date +%s) - begin)) "$passed" "$failed" 0
    done
}

is_bench()
{
    case ${1-} in '' | *[!a-z-]* | common) return 1 ;; esac
    [ -f "$source/tests/bench/$1.py" ]
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

# fuzz_target NAME SECONDS: for fuzz_report
fuzz_target()
{
    begin=$(date +%s) status=0 corpus=$source/tests/fuzz/corpus/$1 found=$results/fuzz/$1
    dictionary=$corpus.dict learnt=$builds/fuzz-corpus/$1
    mkdir -p "$found" "$learnt"
    [ -f "$dictionary" ] || dictionary=''
    ASAN_OPTIONS=allow_addr2line=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 G_SLICE=always-malloc \
        timeout --foreground -k 20 $(($2 + 300)) "$builds/fuzz/tests/fuzz/fuzz-$1" -max_total_time="$2" -max_len=8192 \
        -rss_limit_mb=1024 -timeout=20 -artifact_prefix="$found/" ${dictionary:+"-dict=$dictionary"} \
        "$learnt" "$corpus" "$found" >"$results/fuzz-$1.log" 2>&1 || status=$?
    echo "$status $(($(date +%s) - begin))" >"$results/fuzz-$1.status"
}

# fuzz_report [NAME...]: waits for these targets, and counts them in this order
fuzz_report()
{
    wait
    for name; do
        status=1 seconds=0 log=$results/fuzz-$name.log
        [ ! -f "$results/fuzz-$name.status" ] || read -r status seconds <"$results/fuzz-$name.status"
        if [ "$status" -eq 0 ]; then
            count "fuzz $name" "$seconds" 1 0 0
            continue
        fi
        grep -v '^#[0-9]' "$log" | tail -n 60
        sed -n 's/.*Test unit written to //p' "$log" | while read -r input; do
            echo "fuzz-$name found $input:"
            od -A d -t x1z "$input" | head -n 40
        done
        count "fuzz $name" "$seconds" 0 1 0
    done
}

# suite_fuzz SECONDS
suite_fuzz()
{
    # shellcheck disable=SC2086
    need_packages $build_packages $fuzz_packages && build_fuzz || return 1
    running='' free=$(nproc)
    rm -f "$results"/fuzz-*.status
    for target in "$source"/tests/fuzz/fuzz-*.c; do
        target=${target##*/fuzz-}
        fuzz_target "${target%.c}" "$1" &
        running="$running ${target%.c}" free=$((free - 1))
        if [ "$free" -eq 0 ]; then
            # shellcheck disable=SC2086 # names
            fuzz_report $running
            running='' free=$(nproc)
        fi
    done
    # shellcheck disable=SC2086 # names
    fuzz_report $running
}

is_number()
{
    case ${1-} in '' | *[!0-9]*) return 1 ;; esac
}

[ $# -gt 0 ] || set -- check unit bus sanitize fuzz 30 hosts confinement vm
while [ $# -gt 0 ]; do
    suite=$1 numbers=''
    shift
    case $suite in
        check | unit | bus | broker | sanitize | hosts | libvirt-xml | confinement | vm | vm-all | vm-bench | s390x | bench) ;;
        simulate | moments | fuzz) is_number "${1-}" || { usage >&2; exit 2; } ;;
        -h | --help) usage; exit 0 ;;
        *) echo "tests/run.sh: there is no suite \"$suite\"" >&2; usage >&2; exit 2 ;;
    esac
    while is_number "${1-}"; do
        numbers="$numbers $1"
        shift
    done
    while [ "$suite" = bench ] && is_bench "${1-}"; do
        numbers="$numbers $1"
        shift
    done
    # shellcheck disable=SC2086 # numbers, or names
    if ! "suite_$(echo "$suite" | tr - _)" $numbers; then
        echo "$suite: could not be run"
        count "$suite" 0 0 1 0
    fi
done

printf %s "$failures"
line="$total_passed passed, $total_failed failed"
[ "$total_skipped" -eq 0 ] || line="$line, $total_skipped skipped"
echo "$line"
[ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
