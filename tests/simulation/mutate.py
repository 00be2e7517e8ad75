#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes mutated copies of source files.

    mutate.py MUTATION SOURCE OUTPUT    a mutated copy of one
    mutate.py --list FOLDER SOURCE...   for each mutation in the folder a line: its name, the source that it is of, and who
                                        is to notice it
    mutate.py --noticed-by WHO FOLDER SOURCE...    the same, of those alone that WHO is to notice

A mutation is a file in mutations/: lines of explanation, then one or more replacements

    <<<<
    the original text, which must occur exactly once
    ====
    what stands in its place
    >>>>

It breaks one rule of the engine on purpose; a simulation that does not notice is at fault. What no simulation meets within
minutes is in tests/unit/mutations, with a line that names the unit test in its place: "Noticed by: engine-admissions". There
may be several such lines; the list has the first of them, unless it is asked for those of somebody.
"""
import pathlib
import re
import sys


def read_hunks(mutation):
    hunks = re.findall(r"^<<<<\n(.*?)^====\n(.*?)^>>>>\n", mutation.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if not hunks:
        sys.exit(f"{mutation}: there is no replacement in it")
    return hunks


def mutate(mutation, source, output):
    text = source.read_text("utf-8")
    for original, replacement in read_hunks(mutation):
        count = text.count(original)
        if count != 1:
            sys.exit(f"{mutation}: this occurs {count} times in {source}, not once; adapt it:\n{original}")
        text = text.replace(original, replacement)
    output.write_text(text, "utf-8")


def find_source(mutation, texts):
    hunks = read_hunks(mutation)
    found = [source for source, text in texts.items() if all(original in text for original, _ in hunks)]
    if len(found) != 1:
        sys.exit(f"{mutation}: what it replaces is not in one source, but in {' '.join(found) or 'none'}; adapt it")
    return found[0]


def find_witnesses(mutation):
    return re.findall(r"^Noticed by: (\S+)$", mutation.read_text("utf-8"), re.MULTILINE) or ["simulation"]


def list_mutations(folder, sources, witness):
    texts = {source: pathlib.Path(source).read_text("utf-8") for source in sources}
    for mutation in sorted(pathlib.Path(folder).iterdir()):
        witnesses = find_witnesses(mutation)
        if witness is None or witness in witnesses:
            print(mutation.name, find_source(mutation, texts), witness or witnesses[0])


def main():
    arguments = sys.argv[1:]
    if arguments[0] == "--list":
        list_mutations(arguments[1], arguments[2:], None)
    elif arguments[0] == "--noticed-by":
        list_mutations(arguments[2], arguments[3:], arguments[1])
    else:
        mutate(*map(pathlib.Path, arguments))


if __name__ == "__main__":
    main()
