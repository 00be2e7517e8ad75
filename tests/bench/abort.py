# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long it takes until outgoing migrations are over when a lock is asked for, against virDomainAbortJob for all of them
at once, and against a loop of `virsh domjobabort`. On the two libvirt hosts of tests/hosts, with real guests, whose
migrations would last for ever.

    abort.py [ROUNDS [MIGRATIONS...]]       how many migrations at a time: 1 10 19, if none are named

A lock is more than the end of the migrations: it is durable, and a reading that began after that has shown that there is no
other. libvirtd has enough workers here: by default each migration keeps one of its 20.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

HOSTS = common.TESTS / "hosts"
INSTALL = Path(os.environ.get("APMIGD_INSTALL", common.rig.SOURCE / "build" / "plain-install"))
sys.path.insert(0, str(HOSTS))
sys.modules.pop("rig", None)  # the one of tests/bus: that of tests/hosts has the same name

import libvirt  # noqa: E402 (needs the path)
import wire  # noqa: E402
from gi.repository import GLib  # noqa: E402
from host import wait_for  # noqa: E402
from rig import Rig  # noqa: E402

MANAGER = "org.apmigd1.Manager"
KEYS = "04.0012"
WORKERS = (50, 60)  # at least, at most
AT_ONCE = 4  # calls on one connection, as apmigd has them: libvirtd lets five through (max_client_requests)
LIMIT = 120  # seconds for a lock, or for what libvirt does
BUS_SOCKET = "/run/dbus/system_bus_socket"


class Bench:
    """Of migrations from one host to the other. Each way is given the guests that migrate, and ends when none does."""

    def __init__(self, rig, count):
        self.rig = rig
        self.source, self.destination = rig.hosts
        for host in rig.hosts:
            host.set_workers(*WORKERS)
        self.guests = rig.start_guests(count, self.source, scope=KEYS)
        self.bus = wire.Bus(self.source.path(BUS_SOCKET))
        with wire.network_of(self.source.pid):
            connection = libvirt.open("qemu+tcp://127.0.0.1/system")
        self.domains = {guest: connection.lookupByName(guest.name) for guest in self.guests}

    # --- the ways ---

    def take(self, guests):
        options = {"timeout-usec": GLib.Variant("t", LIMIT * 1_000_000)}
        self.lock, = self.bus.call("/org/apmigd1", MANAGER, "TakeLock",
                                   GLib.Variant("(ssa{sv})", ("all", "bench", options)), LIMIT + 10)

    def abort(self, guests):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda guest: self.domains[guest].abortJob(), guests))
        self._wait_for_jobs(guests)

    def abort_in_turn(self, guests):
        for guest in guests:
            self.source.virsh("domjobabort", guest.name, timeout=LIMIT)
        self._wait_for_jobs(guests)

    def _wait_for_jobs(self, guests):
        """Asks each guest until libvirt says that it has none."""
        for guest in guests:
            while self.domains[guest].jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
                time.sleep(0.001)

    # --- measuring ---

    def _begin(self, guests):
        migrations = [self.rig.migrate(guest, self.source, self.destination, bandwidth=1) for guest in guests]
        for guest in guests:
            self.rig.wait_migrating(guest, self.source, LIMIT)
        if any(migration.ended for migration in migrations):
            raise RuntimeError("a migration ended by itself")
        return migrations

    def _end(self, migrations):
        """Until everything is as before."""
        for migration in migrations:
            if migration.wait(LIMIT):
                raise RuntimeError("a migration was not ended, it succeeded")
        wait_for(lambda: not self.destination.guests(), "the destination to be empty", LIMIT)
        if self.lock:
            self.bus.call("/org/apmigd1", MANAGER, "ReleaseLock", GLib.Variant("(oa{sv})", (self.lock, {})), LIMIT)
        wait_for(lambda: not self.destination.migrations(), "its apmigd to know of none", LIMIT)

    def _measured(self, way, count):
        def measure():
            guests, self.lock = self.guests[:count], None
            migrations = self._begin(guests)
            seconds = common.timed(way, guests)
            self._end(migrations)
            return seconds

        return measure

    def run(self, count, rounds):
        ways = {"virDomainAbortJob for all at once": self.abort, "TakeLock until held": self.take,
                "virsh domjobabort one after another": self.abort_in_turn}
        common.compare(f"Until {count} outgoing migration{'s are' if count > 1 else ' is'} over, on the clock",
                       {name: self._measured(way, count) for name, way in ways.items()}, rounds)


def main():
    counts = [int(word) for word in sys.argv[2:]] or [1, 10, 19]
    with Rig(install=INSTALL) as rig:
        bench = Bench(rig, max(counts))
        for count in counts:
            bench.run(count, common.rounds(3))


main()
