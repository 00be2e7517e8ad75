# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the stamps of 200 guests delay the lock that is to be in them. The guests are those of libvirt's test driver,
whose metadata are written for real.

    stamps.py [ROUNDS]
"""

import time

import common
from common import rig

GUESTS = 200


def node():
    guests = (rig.domain(f"g{n}", rig.uuid_of(n), "04.0012").replace("type='kvm'", "type='test'")
              for n in range(1, GUESTS + 1))
    return f"<node>{''.join(guests)}</node>"


class Bench:
    def __init__(self, daemon, manager):
        self.daemon, self.manager = daemon, manager

    def _settle(self):
        common.settle(self.daemon.process.pid)

    def _with(self, form):
        self.daemon.policy(stamp=form)
        self.daemon.reload()
        self._settle()

    def _take(self):
        begin = time.monotonic()
        lock = self.manager.take()
        return time.monotonic() - begin, lock

    def at_rest(self, form):
        """No stamp is due when the lock is asked for."""
        def way():
            self._with(form)
            seconds, lock = self._take()
            self.manager.release(lock)
            self._settle()
            return seconds

        return way

    def while_written(self, form):
        """All of them are being written, for a lock that has just ended."""
        def way():
            self._with(form)
            self.manager.release(self.manager.take())
            time.sleep(0.15)
            seconds, lock = self._take()
            self.manager.release(lock)
            self._settle()
            return seconds

        return way

    def run(self, count):
        for title, way in ((f"TakeLock until held, {GUESTS} guests, nothing else to do", self.at_rest),
                           (f"TakeLock until held, while {GUESTS} stamps of another lock may be written", self.while_written)):
            common.compare(title, {f"stamp={form}": way(form) for form in ("off", "full")}, count)
        self._with("full")
        self.manager.release(self.manager.take())
        self._settle()
        print(f"\nGuests that had a stamp in the end: {self.manager.remove_stamps()} of {GUESTS}.", flush=True)


def main():
    with common.private_bus() as bus:
        (bus.folder / "node.xml").write_text(node(), encoding="utf-8")
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD, f"test://{bus.folder}/node.xml")
        with common.started(daemon):
            rig.until(lambda: "connected to" in daemon.read_log(), "libvirt")
            Bench(daemon, common.Manager(bus)).run(common.rounds(10))


main()
