# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the hook takes while an ordinary user floods apmigd over the bus, against the same flood of another name of that bus:
100 connections with pipelined TakeLock and ListLocks, and CheckMigration of 27 MB, in turn. Under a held lock, with
OnUnreachable=allow; each answer is looked at. APMIGD_BUS=broker has it on dbus-broker.

    flood.py [ROUNDS]       3 s of each flood a round; 5 rounds flood apmigd for 30 s
"""

import statistics

import common
import test_flood
from common import rig
from test_flood import CONTROL, NAME

SECONDS = 3
KINDS = ("small", "large")


def measure(bus, daemon, rounds):
    """Returns how long the hook took: by kind and name, a list of each round's."""
    gate = test_flood.Gate(daemon)
    nobody, root = rig.Client(bus, rig.NOBODY), rig.Client(bus)
    root.take("04.*", "AES rotation")
    test_flood.start_wire(root, "serve", bus.address, CONTROL)
    took = {(kind, name): [] for kind in KINDS for name in (CONTROL, NAME)}
    order = list(took)
    for _ in range(rounds):
        for kind, name in order:
            took[kind, name].append(test_flood.flood_and_ask(daemon, nobody, gate, name, kind, SECONDS))
        order.reverse()
    return took


def tell(took, rounds):
    """Ratios are of medians of floods next to each other."""
    bus = "dbus-broker" if rig.IS_BROKER else "dbus-daemon"
    print(f"\nThe hook while {bus} is flooded ({rounds} rounds of {SECONDS} s)\n")
    print("| flood | of | answers | median ms | worst ms | ratio |\n|---|---|---|---|---|---|")
    for (kind, name), rows in took.items():
        flat = [seconds for row in rows for seconds in row]
        ratio = statistics.median(statistics.median(mine) / statistics.median(other)
                                  for mine, other in zip(rows, took[kind, CONTROL]))
        print(f"| {kind} | {'apmigd' if name == NAME else 'another'} | {len(flat)} | {1e3 * statistics.median(flat):.1f} | "
              f"{1e3 * max(flat):.1f} | {ratio:.2f} |", flush=True)


def main():
    rounds = common.rounds(5)
    with common.private_bus(test_flood.OPEN) as bus:
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, f"scripted:{bus.folder}/hypervisor")
        daemon.run_as()
        with common.started(daemon):
            tell(measure(bus, daemon, rounds), rounds)
            print(f"\nmost memory of apmigd: {test_flood.most_memory(daemon.process) >> 20} MiB; "
                  f"MemoryHigh: {test_flood.memory_high() >> 20} MiB")


main()
