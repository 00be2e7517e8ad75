#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a mutated copy of a source file: mutate.py MUTATION SOURCE OUTPUT

A mutation is a file in mutations/: lines of explanation, then one or more replacements

    <<<<
    the original text, which must occur exactly once
    ====
    what stands in its place
    >>>>

It breaks one rule of the engine on purpose; a simulation that does not notice is at fault.
"""
import re
import sys


def main():
    mutation, source, output = sys.argv[1:]
    with open(mutation, encoding="utf-8") as file:
        hunks = re.findall(r"^<<<<\n(.*?)^====\n(.*?)^>>>>\n", file.read(), re.MULTILINE | re.DOTALL)
    with open(source, encoding="utf-8") as file:
        text = file.read()
    if not hunks:
        sys.exit(f"{mutation}: there is no replacement in it")
    for original, replacement in hunks:
        count = text.count(original)
        if count != 1:
            sys.exit(f"{mutation}: this occurs {count} times in {source}, not once; adapt it:\n{original}")
        text = text.replace(original, replacement)
    with open(output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
