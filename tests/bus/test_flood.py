# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ordinary user who floods the bus: the gate does not notice.

He has 100 connections and sends TakeLock, ListLocks and CheckMigration of 27 MB without waiting for anything. A bus has so
much to do with the former that hardly any of the latter passes, and so each kind has its turn. The hook is compared with
itself while an equal flood goes to another name of the bus: what it may lose is what any busy machine costs. APMIGD_FLOOD is
for how many seconds apmigd is flooded, and then the other; how fast the hook is counts only where it is given, by who has a
machine for that alone.
"""
import os
import pathlib
import re
import statistics
import sys
import time

import pytest
import rig
import wire
from private import Hook
from rig import LIMIT, NAME, SOURCE, domain, until

SECONDS = float(os.environ.get("APMIGD_FLOOD", "4"))
IS_MEASURED = "APMIGD_FLOOD" in os.environ
KINDS = {"small": 100, "large": 2, "small again": 100, "large again": 2}  # in turn: what else the machine does meets all
CONTROL = "org.apmigd1.Control"
WIRE = pathlib.Path(rig.__file__).with_name("wire.py")

OPEN = f"""<policy user="root"><allow own="{CONTROL}"/></policy>
  <policy context="default"><allow send_destination="{CONTROL}"/></policy>"""


@pytest.fixture
def bus(folder):
    """With a name beside apmigd's, which answers every call."""
    bus = rig.Bus(folder, OPEN)
    yield bus
    bus.close()


def start_wire(client, *arguments):
    process = client.run(sys.executable, WIRE, *arguments, stderr=None)
    assert process.stdout.readline() == "ready\n"
    return process


class Gate:
    """The hook, asked for a guest that a lock keeps out and for one that may come in, in turn."""

    def __init__(self, daemon):
        # Would an answer fail to come, the first were let in but for the lock on disk, and the second always.
        self.hook = Hook(daemon, "[Hook]\nOnUnreachable=allow\n")

    def ask(self):
        status, said = self.hook.run(domain(scope="04.0012"))
        assert status == 1 and "AES rotation" in said, said
        assert self.hook.run(domain(scope="05.0001", uuid=rig.uuid_of(2))) == (0, "")

    def ask_for(self, seconds):
        """Returns how long each took."""
        begin, before = time.monotonic(), len(self.hook.seconds)
        while time.monotonic() < begin + seconds:
            self.ask()
        return self.hook.seconds[before:]


def memory_high():
    unit = (SOURCE / "systemd" / "apmigd.service.in").read_text()
    return int(re.search(r"^MemoryHigh=(\d+)M$", unit, re.M).group(1)) << 20


def most_memory(process):
    """Of what it had at any time."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.M).group(1)) << 10


def flood_and_ask(daemon, nobody, gate, name, kind, seconds):
    """Returns how long the hook took, each time."""
    flood = start_wire(nobody, "flood", daemon.bus.address, name, kind.split()[0], KINDS[kind])
    if (name, kind) == (NAME, "small"):
        daemon.wait_for_log("asked for take in vain")
    if (name, kind) == (NAME, "large"):
        until(lambda: most_memory(daemon.process) > wire.LARGE, "a large message")
    took = gate.ask_for(seconds)
    assert flood.poll() is None
    flood.kill()
    flood.wait(LIMIT)
    return took


def test_flood(daemon, hypervisor, bus, root, nobody):
    daemon.run_as()
    daemon.start()
    root.take("04.*", "AES rotation")
    gate = Gate(daemon)
    start_wire(root, "serve", bus.address, CONTROL)
    took = {CONTROL: [], NAME: []}
    for kind in KINDS:
        for name, seconds in took.items():
            seconds += flood_and_ask(daemon, nobody, gate, name, kind, SECONDS / len(KINDS))
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    print({name: (len(seconds), medians[name], max(seconds)) for name, seconds in took.items()}, most_memory(daemon.process))
    assert not IS_MEASURED or (medians[NAME] <= 1.5 * medians[CONTROL] and max(took[NAME]) <= 1)
    assert most_memory(daemon.process) < memory_high()

    bus.end()
    gate.ask()
    bus.begin()
    until(bus.has_name, "the name")
    took_again = flood_and_ask(daemon, nobody, gate, NAME, "small again", SECONDS / 8)
    assert not IS_MEASURED or max(took_again) <= 1
    assert daemon.process.poll() is None
