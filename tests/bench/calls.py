# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many guests a second apmigd can be asked about, against the least that it can be asked over the bus; and 64 hooks at
once, as a host is evacuated, against the same one after another and against 64 shells that would ask it.

    calls.py [ROUNDS]

The calls come from one connection of a client in C (bus-load.c): one at a time, then 32 under way.
"""

import os
import subprocess

import common
from common import rig
from test_hook import APMIGCTL, Host

CLIENT = rig.BUILD / "tests" / "bench" / "bus-load"
CALLS, AT_ONCE, HOOKS = 2000, 32, 64
KEYS, LOCKED = "04.0012", "05.0012"
ASK = 'xml=$(cat); busctl call org.apmigd1 /org/apmigd1 org.apmigd1.Manager AdmitMigration sssss {} migrate begin - "$xml"'


class Calls:
    def __init__(self, daemon, manager):
        self.daemon, self.manager = daemon, manager
        self.environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": daemon.bus.address}

    def _load(self, in_flight, member, *scope, allowed=CALLS):
        said = subprocess.check_output([CLIENT, member, str(CALLS), str(in_flight), *scope], env=self.environment, text=True)
        seconds, n_allowed = said.split()
        if member != "Ping" and int(n_allowed) != allowed:
            raise RuntimeError(f"{n_allowed} of {CALLS} guests were let in, not {allowed}")
        return float(seconds) / CALLS

    def _under_lock(self, in_flight):
        """Of other queues than those of the guests that were let in, and have yet to appear."""
        lock = self.manager.take(LOCKED)
        try:
            return self._load(in_flight, "AdmitMigration", LOCKED, allowed=0)
        finally:
            self.manager.release(lock)

    def _ways(self, in_flight):
        return {"Peer.Ping": lambda: self._load(in_flight, "Ping"),
                "AdmitMigration, not affected": lambda: self._load(in_flight, "AdmitMigration"),
                "AdmitMigration, let in": lambda: self._load(in_flight, "AdmitMigration", KEYS),
                "AdmitMigration, refused": lambda: self._under_lock(in_flight)}

    def _consumed(self, way):
        """By apmigd for one call."""
        def measure():
            begin = common.consumed(self.daemon.process.pid)
            way()
            return (common.consumed(self.daemon.process.pid) - begin) / CALLS

        return measure

    def run(self, count):
        for in_flight, how in ((1, "one at a time"), (AT_ONCE, f"{AT_ONCE} under way")):
            common.compare(f"A call, {how}, on the clock", self._ways(in_flight), count, unit="µs")
        ways = {name: self._consumed(way) for name, way in self._ways(AT_ONCE).items()}
        common.compare(f"apmigd's processor time for a call, {AT_ONCE} under way", ways, count, unit="µs")


class Hooks:
    def __init__(self, bus, host):
        self.script = host.script
        self.environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address, "STATE_DIRECTORY": str(host.state)}

    def _start(self, number, command):
        process = subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.stdin.write(rig.domain(f"g{number}", rig.uuid_of(number), KEYS).encode())
        process.stdin.close()
        return process

    @staticmethod
    def _wait(process):
        if process.wait():
            raise RuntimeError("a guest was not let in")

    def _hook(self, number):
        return self._start(number, [self.script, f"g{number}", "migrate", "begin", "-"])

    def _shell(self, number):
        return self._start(number, ["/bin/sh", "-c", ASK.format(f"g{number}")])

    def _at_once(self, start):
        for process in [start(number) for number in range(1, HOOKS + 1)]:
            self._wait(process)

    def _in_turn(self, start):
        for number in range(1, HOOKS + 1):
            self._wait(start(number))

    def run(self, count):
        for name, measure in (("on the clock", common.timed), ("processor time without apmigd's", common.children_time)):
            common.compare(f"{HOOKS} affected guests come in, {name}",
                           {"sh and busctl, at once": lambda measure=measure: measure(self._at_once, self._shell),
                            "hooks, at once": lambda measure=measure: measure(self._at_once, self._hook),
                            "hooks, one after another": lambda measure=measure: measure(self._in_turn, self._hook)}, count)


def main():
    count = common.rounds(5)
    with common.private_bus() as bus:
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, f"scripted:{bus.folder}/hypervisor")
        folder = bus.folder / "host"
        folder.mkdir()
        host = Host(folder)
        host.configure("[Hook]\nTimeout=60\n")
        host.use_apmigctl(APMIGCTL)
        with common.started(daemon):
            Calls(daemon, common.Manager(bus)).run(count)
            Hooks(bus, host).run(count)


main()
