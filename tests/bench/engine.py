# SPDX-License-Identifier: LGPL-2.1-or-later
"""What policy/ costs, in processor time: an event of the engine on a host of 200 guests, against the reading of the few
lines of XML that a guest brings to its admission; whether two scopes of tens of thousands of queues overlap, against a
comparison of as many bits in memory; and the events of the simulation, which checks every rule after each.

    engine.py [ROUNDS]
"""

import re
import subprocess

import common
from common import rig

BENCH = rig.BUILD / "tests" / "bench" / "engine-bench"
SIMULATION = rig.BUILD / "tests" / "simulation" / "simulation"
EVENTS, CALLS = 20_000, 200_000
SEEDS = 500


def each(way, count):
    """Seconds for one."""
    return lambda: float(subprocess.check_output([BENCH, way, str(count)])) / count


def simulate():
    """Events, and seconds of processor time."""
    events = []

    def run():
        said = subprocess.run([SIMULATION, "--seeds", str(SEEDS)], check=True, capture_output=True, text=True).stdout
        events.append(int(re.search(r"(\d+) events", said)[1]))

    seconds = common.children_time(run)
    return events[0], seconds


def main():
    count = common.rounds(10)
    common.compare("An event, processor time",
                   {"the XML of a guest is read": each("xml", EVENTS),
                    "an admission is denied under a lock": each("denials", EVENTS),
                    "any of a lock's life, with questions to 200 guests": each("locks", EVENTS)}, count, unit="µs")
    common.compare("Whether two scopes overlap, processor time",
                   {"memcmp() of two times 8 KiB": each("memcmp", CALLS),
                    "32,768 queues and the 32,768 others": each("disjoint", CALLS),
                    "65,536 queues and the same": each("all", CALLS)}, count, unit="ns")
    events, seconds = simulate()
    print(f"\nSimulation: {events} events of {SEEDS} seeds, {events / seconds:,.0f} a second of processor time.", flush=True)


main()
