#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the C sources keep to their floors and rooms, and call each other without circles.

    layers.py [ROOT]        of the tree there, or of the one that this file lies in
    layers.py --self-test   that each rule is noticed when it is broken, in a tree made for that

The storeys are dbus over daemon over policy; a room is a folder of one. Calls and includes go down only, from room to room
as RIGHTS says, and the files of one room do not call each other in a circle. What is wrong is said one a line; the status
is 1 then.
"""
import collections
import os
import pathlib
import re
import sys
import tempfile

STOREYS = ["policy", "daemon", "dbus"]  # from the ground up
MOST_SOURCES = 36  # of a folder that one takes in at a glance

# What a room may include and call besides itself: rooms, or single headers of a room with the functions that they declare.
RIGHTS = {
    # Errors, sentences, strict reading of JSON: nothing of ours.
    "policy/base": "",
    # Cards, queues, devices of a host, as values: not keys, guests, locks.
    "policy/ap": "policy/base",
    # Patterns, and who says so: not guests, locks.
    "policy/keys": "policy/base policy/ap",
    # What a guest carries: no lock but the one in the stamp.
    "policy/stamp": "policy/base policy/ap policy/keys",
    # The administrator's policy files: not the engine.
    "policy/rules": "policy/base policy/ap policy/stamp",
    # Locks, migrations, admissions, permits: not how anything is done, not other hosts.
    "policy/engine": "policy/base policy/ap policy/keys policy/stamp policy/rules",
    # The fleet's document and the hosts' answers: of locks their bounds and words, not the engine's insides.
    "policy/fleet": "policy/base policy/ap policy/keys policy/rules/policy.h policy/engine/lock.h",

    # Log, configuration, text, watchdog: nothing above it. The log tells what the engine has to tell; policy files are read.
    "daemon/base": "policy/base policy/rules policy/engine/action.h",
    # libvirt's XML: not the engine.
    "daemon/guest": "daemon/base policy/base policy/ap policy/keys policy/stamp",
    # The two helpers, their protocol and their clients: not each other, not the engine.
    "daemon/fence": "daemon/base policy/base",
    # Of libvirt's room how it is called, not what is seen there.
    "daemon/act": "daemon/base daemon/guest daemon/libvirt/actor.h daemon/libvirt/connection.h daemon/libvirt/domain.h"
                  " daemon/libvirt/event-loop.h daemon/libvirt/pool.h policy/base policy/stamp",
    # What is on disk: not why. It carries out the engine's actions, which hold what is written.
    "daemon/store": "daemon/base daemon/guest policy/base policy/ap policy/keys policy/stamp policy/rules"
                    " policy/engine/event.h policy/engine/action.h policy/engine/lock.h policy/engine/permit.h",
    # sysfs and cards: not locks.
    "daemon/cards": "daemon/base policy/base policy/ap policy/keys",
    # Calls that block, and events: not what follows from an answer.
    "daemon/libvirt": "daemon/base daemon/guest daemon/cards policy/base policy/ap policy/keys policy/stamp"
                      " policy/engine/event.h policy/engine/action.h policy/engine/lock.h policy/engine/permit.h",
    # Binds them to the engine: not the bus.
    "daemon/core": "daemon/base daemon/guest daemon/fence daemon/act daemon/store daemon/cards daemon/libvirt"
                   " policy/base policy/ap policy/keys policy/stamp policy/rules policy/engine policy/fleet",
    # etcd on one side, FleetApply on the other: not libvirt, not guests.
    "daemon/fleet": "daemon/base policy/base policy/ap policy/keys policy/fleet",

    # Objects, methods, who may: not how it is done.
    "dbus/server": "daemon/core daemon/base daemon/guest policy/base policy/ap policy/keys policy/stamp policy/rules"
                   " policy/engine policy/fleet dbus/names.h",
    # Verbs; speaks to buses alone: not the daemon's insides, but for where its sockets lie.
    "dbus/ctl": "daemon/base daemon/guest daemon/act/client.h daemon/fence/client.h policy/base policy/ap policy/keys dbus/names.h",
    # Verbs over many hosts, above those of one: not what policy/fleet decides, nor how a verb of one host is done.
    "dbus/hosts": "dbus/ctl/bus.h dbus/ctl/ctl.h dbus/ctl/format.h dbus/ctl/lock.h dbus/ctl/options.h policy/base policy/ap"
                  " policy/keys policy/fleet dbus/names.h",
    # Names that all of dbus share, and the main() of apmigd, which makes everything.
    "dbus": "dbus/server daemon/base daemon/cards daemon/core daemon/fence daemon/act daemon/libvirt daemon/store",
}
LOOSE = {"dbus/main.c", "dbus/names.h"}  # lie in no room
OF_TESTS = {("dbus/main.c", name) for name in ("in-process-actor.h", "scripted-hypervisor.h")}  # includes of what lies with the tests

# The circles that may be, each with the files that it goes through, no more and no fewer, and why.
CIRCLES = {
    # The core's loop: an action is carried out, and its answer comes back as an event, of which actions come.
    "daemon/core": "arrival.c callers.c check.c core.c keys.c stamps.c watch.c",
}

REMEDY = """\
Move a function down to the floor of what it calls, or hand what it needs to it; in a circle, move what two files need to a
third one below. Rooms and their rights are the table in tests/layers.py."""

Function = collections.namedtuple("Function", "name static calls")
Source = collections.namedtuple("Source", "path room includes declares functions bodies")


# --- reading ------------------------------------------------------------------------------------------

def blank(text):
    """Without comments, strings and characters; all lines stay where they are."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                  lambda match: re.sub(r"[^\n]", " ", match.group()), text, flags=re.S)


# Its name begins a line, after that of its type, or follows an attribute; the braces of its body begin lines.
DEFINITION = re.compile(r"^([^\n]*\n(?:[\w *]+ G_GNUC_PRINTF\([^)\n]*\) )?)([a-z_]\w*)\([^;{}]*?\)\n\{\n(.*?)^\}",
                        re.M | re.S)
DECLARATION = re.compile(r"^(?!static\b|typedef\b|return\b)[A-Za-z_][\w *]*?[ *]([a-z_]\w*)\(", re.M)
CALL = re.compile(r"(?<![\w.>])([a-z_]\w*)\s*\(")


def read_functions(code):
    for above, name, body in DEFINITION.findall(code):
        yield Function(name, re.search(r"\bstatic\b", above) is not None, sorted(set(CALL.findall(body))))


def read_source(root, path):
    text = (root / path).read_text("utf-8")
    code = blank(text)
    return Source(path, os.path.dirname(path), re.findall(r'^#\s*include "([^"]+)"', text, re.M),
                  set(DECLARATION.findall(code)) if path.endswith(".h") else set(), list(read_functions(code)),
                  len(re.findall(r"^\{", code, re.M)))


def read_tree(root):
    """All C sources but those of tests and builds, by their paths."""
    sources = {}
    for folder, subfolders, names in os.walk(root):
        here = pathlib.Path(folder).relative_to(root)
        subfolders[:] = sorted(name for name in subfolders
                               if not name.startswith(".") and (here / name).as_posix() not in ("build", "tests"))
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                path = (here / name).as_posix()
                sources[path] = read_source(root, path)
    return sources


# --- rules --------------------------------------------------------------------------------------------

def is_housed(source):
    return source.room in RIGHTS and (source.room not in STOREYS or source.path in LOOSE)


def base(path):
    return os.path.basename(path)


def check_rooms(sources):
    """All C lies in a room that the table knows, of no more files than one takes in."""
    lost = collections.defaultdict(list)
    counts = collections.Counter(source.room for source in sources.values() if source.path.endswith(".c"))
    for source in sources.values():
        if not is_housed(source):
            lost[source.room].append(base(source.path))
    for room, names in lost.items():
        if room.count("/") == 1 and room.split("/")[0] in STOREYS:
            yield f"{room}: the table does not know this room: {' '.join(names)}"
        else:
            yield f"{room or '.'}: outside of any room: {' '.join(names)}"
    for room, count in counts.items():
        if count > MOST_SOURCES:
            yield f"{room}: {count} .c files, more than {MOST_SOURCES}: it is several rooms"


def check_read(sources):
    """This check has understood the sources: every brace in column 0 begins a function that it knows."""
    for source in sources.values():
        if source.bodies != len(source.functions):
            yield f"{source.path}: only {len(source.functions)} of {source.bodies} functions could be read: format it"


def find_header(sources, name):
    return [f"{storey}/{name}" for storey in STOREYS if f"{storey}/{name}" in sources]


def refusal(source, target, sources, is_by_header):
    """Returns why @source may not use @target, or None. @is_by_header: whether that is by the header it is called with"""
    if target.room == source.room:
        return None
    if STOREYS.index(target.room.split("/")[0]) > STOREYS.index(source.room.split("/")[0]):
        return "goes up a storey"
    if base(target.path) == "private.h":
        return f"is private to {target.room}"
    rights = RIGHTS[source.room].split()
    if target.room in rights or any(is_by_header(header) for header in rights if header in sources):
        return None
    return f"is not for {source.room}"


def check_includes(sources):
    for source in filter(is_housed, sources.values()):
        nameless = []
        for name in source.includes:
            found = find_header(sources, name)
            if (source.path, name) in OF_TESTS or found and found[0] in LOOSE and source.room.split("/")[0] == "dbus":
                continue
            if "/" not in name or name.startswith("."):
                nameless.append(f'"{name}"')
            elif len(found) != 1:
                yield f'{source.path}: #include "{name}" is ' + (" and ".join(found) or "not in the tree")
            elif is_housed(sources[found[0]]):
                reason = refusal(source, sources[found[0]], sources, found[0].__eq__)
                if reason:
                    yield f'{source.path}: #include "{name}": {found[0]} {reason}'
        if nameless:
            yield f"{source.path}: an include must name its room: {' '.join(nameless)}"


def find_calls(sources):
    """Yields (source, function, name, target): calls of what is not in the file itself."""
    homes = collections.defaultdict(list)
    for source in sources.values():
        for function in source.functions:
            if not function.static:
                homes[function.name].append(source)
    for name, targets in homes.items():
        if len(targets) > 1:  # beside a main() is what stands in for it in a program of its own
            homes[name] = [target for target in targets if all(function.name != "main" for function in target.functions)]
    for source in sources.values():
        own = {function.name for function in source.functions}
        for function in source.functions:
            for name in function.calls:
                for target in homes.get(name, []) if name not in own else []:
                    yield source, function, name, target


def check_calls(sources, calls):
    for source, function, name, target in calls:
        if is_housed(source) and is_housed(target):
            reason = refusal(source, target, sources, lambda header: name in sources[header].declares)
            if reason:
                yield f"{source.path}: {function.name}() calls {name}(): {target.path} {reason}"


def find_circles(graph):
    """Yields the sets of files that reach each other (Tarjan's algorithm)."""
    index, lowest, stack, circles = {}, {}, [], []

    def visit(node):
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for successor in sorted(graph[node]):
            if successor not in index:
                visit(successor)
            if successor in stack:
                lowest[node] = min(lowest[node], lowest[successor])
        if lowest[node] == index[node]:
            members = set(stack[stack.index(node):])
            del stack[stack.index(node):]
            if len(members) > 1:
                circles.append(members)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return circles


def shortest_round(graph, members):
    """Returns the shortest way from one of @members to itself, as a list of files."""
    rounds = []
    for start in sorted(members):
        ways = collections.deque([[start]])
        seen = set()
        while ways:
            way = ways.popleft()
            if start in graph[way[-1]]:
                rounds.append(way + [start])
                break
            for successor in sorted((graph[way[-1]] & members) - seen):
                seen.add(successor)
                ways.append(way + [successor])
    return min(rounds, key=len)


def check_circles(sources, calls):
    graphs = collections.defaultdict(lambda: collections.defaultdict(set))
    why = {}
    for source, function, name, target in calls:
        if source.room == target.room:
            graphs[source.room][source.path].add(target.path)
            graphs[source.room][target.path] |= set()
            why.setdefault((source.path, target.path), f"{function.name}() calls {name}() in {base(target.path)}")
    allowed = {room: {f"{room}/{name}" for name in names.split()} for room, names in CIRCLES.items()}
    for room, graph in graphs.items():
        for members in find_circles(graph):
            expected = allowed.get(room, set())
            if members & expected:
                del allowed[room]
                if members == expected:
                    continue
                for path in sorted(expected - members):
                    yield f"{path}: no longer in the circle that {room} may have: strike it from CIRCLES"
                if members <= expected:
                    continue
                yield f"{room}: its circle has grown by {' '.join(map(base, sorted(members - expected)))}"
            else:
                yield (f"{room}: a circle of {len(members)} files that call each other: "
                       + " ".join(map(base, sorted(members))))
            way = shortest_round(graph, members)
            for caller, called in zip(way, way[1:]):
                yield f"    {caller}: {why[caller, called]}"
    for room in allowed:
        yield f"{room}: the circle that it may have is no longer there: strike it from CIRCLES"


def check_rights(sources):
    """The table gives no right that is void: to a room that it does not know, or to a header that is gone."""
    rooms = {source.room for source in sources.values()}
    for room, rights in RIGHTS.items():
        for right in rights.split():
            is_gone = os.path.dirname(right) in rooms and right not in sources
            if right not in RIGHTS and (is_gone or not right.endswith(".h")):
                yield f"{room}: its right to {right} is void: strike it from RIGHTS"


def check(root):
    sources = read_tree(root)
    calls = list(find_calls(sources))
    yield from check_rights(sources)
    yield from check_rooms(sources)
    yield from check_read(sources)
    yield from check_includes(sources)
    yield from check_calls(sources, calls)
    yield from check_circles(sources, calls)


# --- the check is checked -----------------------------------------------------------------------------

def c_file(name, *calls, header=None, static=False):
    """A C file with the function @name, which calls @calls."""
    return ((f'#include "{header}"\n' if header else "") + "/* unlike(this) */\n" + ("static " if static else "")
            + f"void\n{name}(int value)\n{{\n    puts(\"unlike(that)\");\n"
            + "".join(f"    {call}(value);\n" for call in calls) + "}\n")


# The circle that may be, of at least three files.
FIRST, SECOND, *REST = [name[:-2] for name in CIRCLES["daemon/core"].split()]

SOUND = {
    **{right: "" for right in RIGHTS["daemon/act"].split() if right.endswith(".h")},  # of a room that some trees below have
    "policy/base/error.h": "void error_set(int value);\n",
    "policy/base/error.c": c_file("error_set", header="base/error.h"),
    "policy/engine/event.h": "void event_free(int value);\n",
    "policy/engine/engine.h": "void engine_run(int value);\n",
    "policy/engine/private.h": "void engine_act(int value);\n",
    **{f"policy/engine/{name}.h": "" for name in ("action", "lock", "permit")},
    "policy/engine/event.c": c_file("event_free", "error_set", header="base/error.h"),
    "policy/engine/engine.c": c_file("engine_run", "event_free", "engine_act", header="engine/private.h"),
    "policy/engine/actions.c": c_file("engine_act", header="engine/private.h"),
    "daemon/libvirt/pool.c": c_file("pool_run", "event_free", header="engine/event.h"),
    **{f"daemon/core/{name}.c": c_file(f"core_{name}", f"core_{successor}")
       for name, successor in zip([FIRST, SECOND, *REST], [SECOND, *REST, FIRST])},
    "dbus/server/server.c": c_file("server_run", "engine_run", header="engine/engine.h"),
}
FAULTS = [  # what is changed, and what is said of it; None: nothing
    ({}, None),
    ({"policy/engine/actions.c": c_file("engine_act", "engine_run")},
     "policy/engine: a circle of 2 files that call each other: actions.c engine.c"),
    ({"policy/engine/actions.c": c_file("engine_act", "engine_run") + c_file("engine_run", static=True)}, None),
    ({f"daemon/core/{FIRST}.c": c_file(f"core_{FIRST}")},
     "daemon/core: the circle that it may have is no longer there: strike it from CIRCLES"),
    ({f"daemon/core/{FIRST}.c": c_file(f"core_{FIRST}", f"core_{SECOND}", "core_more"),
      "daemon/core/more.c": c_file("core_more", f"core_{FIRST}")},
     "daemon/core: its circle has grown by more.c"),
    ({f"daemon/core/{FIRST}.c": c_file(f"core_{FIRST}", f"core_{REST[0]}")},
     f"daemon/core/{SECOND}.c: no longer in the circle that daemon/core may have: strike it from CIRCLES"),
    ({"policy/base/error.c": c_file("error_set", "pool_run")},
     "policy/base/error.c: error_set() calls pool_run(): daemon/libvirt/pool.c goes up a storey"),
    ({"daemon/base/log.h": "", "policy/base/error.c": c_file("error_set", header="base/log.h")},
     'policy/base/error.c: #include "base/log.h": daemon/base/log.h goes up a storey'),
    ({"policy/base/error.c": c_file("error_set", "engine_run")},
     "policy/base/error.c: error_set() calls engine_run(): policy/engine/engine.c is not for policy/base"),
    ({"daemon/libvirt/pool.c": c_file("pool_run", "engine_run", header="engine/event.h")},
     "daemon/libvirt/pool.c: pool_run() calls engine_run(): policy/engine/engine.c is not for daemon/libvirt"),
    ({"daemon/libvirt/pool.c": c_file("pool_run", header="engine/engine.h")},
     'daemon/libvirt/pool.c: #include "engine/engine.h": policy/engine/engine.h is not for daemon/libvirt'),
    ({"dbus/server/server.c": c_file("server_run", header="engine/private.h")},
     'dbus/server/server.c: #include "engine/private.h": policy/engine/private.h is private to policy/engine'),
    ({"daemon/attic/log.c": c_file("log_write")}, "daemon/attic: the table does not know this room: log.c"),
    ({"daemon/log.c": c_file("log_write")}, "daemon: outside of any room: log.c"),
    ({"systemd/log.c": c_file("log_write")}, "systemd: outside of any room: log.c"),
    ({"policy/engine/actions.c": c_file("engine_act", header="private.h")},
     'policy/engine/actions.c: an include must name its room: "private.h"'),
    ({"policy/engine/actions.c": c_file("engine_act", header="../engine/private.h")},
     'policy/engine/actions.c: an include must name its room: "../engine/private.h"'),
    ({"policy/engine/actions.c": c_file("engine_act", header="engine/lost.h")},
     'policy/engine/actions.c: #include "engine/lost.h" is not in the tree'),
    ({"daemon/base/error.h": ""},
     'policy/engine/event.c: #include "base/error.h" is policy/base/error.h and daemon/base/error.h'),
    ({"policy/engine/event.h": None, "daemon/libvirt/pool.c": "", "policy/engine/event.c": ""},
     "daemon/libvirt: its right to policy/engine/event.h is void: strike it from RIGHTS"),
    ({"policy/engine/actions.c": "void engine_act(int value)\n{\n}\n"},
     "policy/engine/actions.c: only 0 of 1 functions could be read: format it"),
    ({f"policy/ap/{number}.c": "" for number in range(MOST_SOURCES)}, None),
    ({f"policy/ap/{number}.c": "" for number in range(MOST_SOURCES + 1)},
     f"policy/ap: {MOST_SOURCES + 1} .c files, more than {MOST_SOURCES}: it is several rooms"),
]


def check_changed(changes):
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**SOUND, **changes}.items():
            if text is not None:
                (pathlib.Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                (pathlib.Path(root) / path).write_text(text, "utf-8")
        return list(check(pathlib.Path(root)))


def self_test():
    failed = 0
    for changes, expected in FAULTS:
        found = check_changed(changes)
        if found if expected is None else expected not in found:
            failed += 1
            print(f"expected: {expected}", "found:", *found or ["nothing"], sep="\n    ")
    print(f"layers.py: {len(FAULTS)} trees, {failed} misjudged")
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(1 if self_test() else 0)
    root = pathlib.Path(sys.argv[1]) if sys.argv[1:] else pathlib.Path(__file__).resolve().parents[1]
    found = list(check(root))
    if found:
        print(*found, REMEDY, sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
