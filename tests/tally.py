# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the test cases in a JUnit file: prints "PASSED FAILED SKIPPED", or with --failed the name of each that failed."""

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
    *options, path = sys.argv[1:]
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    outcomes = [outcome(case) for case in cases]
    if options == ["--failed"]:
        for case, result in zip(cases, outcomes):
            if result == "failed":
                print(f"{case.get('classname', '')}::{case.get('name')}")
        return
    print(*(outcomes.count(result) for result in ("passed", "failed", "skipped")))


if __name__ == "__main__":
    main()
