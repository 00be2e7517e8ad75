#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What is run before each commit, and what CI begins with. It says what is wrong, and nothing else.
#
#     tests/check.sh            format, shell, python, layers; then the suite unit
#     tests/check.sh NAME...    these alone, of
#
#         format     C is formatted as .clang-format says, by the version named below
#         shell      shellcheck has nothing to say of shell scripts
#         python     pyflakes has nothing to say of Python
#         layers     the sources keep to their floors and rooms: tests/layers.py
#         unit       tests/run.sh unit
#         analyze    gcc's static analyzer has nothing to say of the product; takes minutes
#
# CLANG_FORMAT names another program than Debian's clang-format-14, of that version.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/build.sh
. "$source/tests/build.sh"
cd "$source"
clang_format=${CLANG_FORMAT:-clang-format-14}

usage()
{
    sed -n '4,/^set -eu/s/^# \{0,1\}//p' "$0"
}

# find_files [TEST...]: files that are sources, of those for which find says so
find_files()
{
    find . \( -name .git -o -path ./build -o -path ./tests/data -o -path ./tests/fuzz/corpus \) -prune -o -type f "$@"
}

check_format()
{
    # shellcheck disable=SC2086 # a list
    need_packages $format_packages || return 1
    # Each version breaks some lines in another way.
    version=$("$clang_format" --version | sed 's/.*version \([0-9]*\).*/\1/')
    if [ "$version" != 14 ]; then
        echo "check.sh: $clang_format is of version ${version:-unknown}; the sources are formatted by version 14" >&2
        return 1
    fi
    find_files -name '*.[ch]' -exec "$clang_format" --dry-run --Werror {} +
}

check_shell()
{
    # shellcheck disable=SC2046 # none of the names has a blank
    shellcheck --external-sources $(find_files -exec \
        awk 'FNR == 1 && (/^#!.*\/(ba)?sh/ || FILENAME ~ /\.(ba)?sh$/) { print FILENAME } { nextfile }' {} +)
}

check_python()
{
    find_files -name '*.py' -exec pyflakes3 {} +
}

check_layers()
{
    "$python" tests/layers.py && "$python" tests/layers.py --self-test >/dev/null
}

check_unit()
{
    tests/run.sh unit
}

# The optimizer takes away what sets variables to NULL that are not used on a path; the compiler warns of unset ones itself.
check_analyze()
{
    build analyze -Dtests=false '-Dc_args=-fanalyzer -Wno-analyzer-use-of-uninitialized-value'
}

[ $# -gt 0 ] || set -- format shell python layers unit
for name; do
    case $name in
        format | shell | python | layers | unit | analyze) ;;
        -h | --help) usage; exit 0 ;;
        *) echo "tests/check.sh: there is no check \"$name\"" >&2; usage >&2; exit 2 ;;
    esac
done
# shellcheck disable=SC2086 # a list
need_packages $lint_packages
failed=''
for name; do
    "check_$name" || failed="$failed $name"
done
[ -z "$failed" ] || { echo "tests/check.sh:$failed: not in order" >&2; exit 1; }
