# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether what passes on this machine passes for s390x too, of two JUnit files of the same suite.

    compare.py HERE.xml S390X.xml

A case that passed here may be skipped there, and is named then; one that failed or is not there makes the status 1.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from tally import outcome  # noqa: E402 (needs the path)


def read(path):
    """Names and outcomes by program and by the number that TAP has before a name, which may be another sentence there."""
    return {(case.get("classname"), case.get("name").split(" ")[0]): (case.get("name"), outcome(case))
            for case in ElementTree.parse(path).getroot().iter("testcase")}


def main():
    here, there = read(sys.argv[1]), read(sys.argv[2])
    by_outcome = {"passed": [], "skipped": [], "failed": [], "missing": []}
    for case, (name, result) in here.items():
        if result == "passed":
            by_outcome[there.get(case, (name, "missing"))[1]].append(f"{case[0]} {name}")
    print(f"s390x: of {sum(map(len, by_outcome.values()))} unit tests that pass on this machine, "
          + ", ".join(f"{len(names)} {result}" for result, names in by_outcome.items() if names))
    for result in ("skipped", "failed", "missing"):
        for name in by_outcome[result]:
            print(f"    {result}: {name}")
    sys.exit(1 if by_outcome["failed"] or by_outcome["missing"] else 0)


main()
