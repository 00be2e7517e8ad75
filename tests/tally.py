# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the test cases in a JUnit file: prints "PASSED FAILED SKIPPED"."""

import sys
from xml.etree import ElementTree


def outcome(case):
    for child in case:
        if child.tag in ("failure", "error"):
            return "failed"
        if child.tag == "skipped":
            return "skipped"
    return "passed"


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        counts[outcome(case)] += 1
    print(*counts.values())


if __name__ == "__main__":
    main()
