# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the stamps of 200 guests delay the lock that is to be in them. The guests are those of libvirt's test driver,
whose metadata are written for real.

    stamps.py [ROUNDS]
"""

import time

import common
from common import rig

GUESTS = 200


class Bench:
    def __init__(self, daemon, manager):
        self.daemon, self.manager = daemon, manager

    def _settle(self):
        common.settle(self.daemon.process.pid)

    def _with(self, form):
        self.daemon.policy(stamp=form)
        self.daemon.reload()
        self._settle()

    def _take(self, measure):
        begin = measure()
        lock = self.manager.take()
        return measure() - begin, lock

    def _consumed(self):
        return common.consumed(self.daemon.process.pid)

    def at_rest(self, form, measure):
        """No stamp is due when the lock is asked for."""
        def way():
            self._with(form)
            spent, lock = self._take(measure)
            self.manager.release(lock)
            self._settle()
            return spent

        return way

    def while_written(self, form, measure):
        """All of them are being written, for a lock that has just ended."""
        def way():
            self._with(form)
            self.manager.release(self.manager.take())
            time.sleep(0.15)
            spent, lock = self._take(measure)
            self.manager.release(lock)
            self._settle()
            return spent

        return way

    def run(self, count):
        when = {f"{GUESTS} guests, nothing else to do": self.at_rest,
                f"{GUESTS} guests, while stamps for another lock may be written": self.while_written}
        for title, way in when.items():
            common.compare(f"TakeLock until held, {title}",
                           {f"stamp={form}": way(form, time.monotonic) for form in ("off", "full")}, count)
        common.compare(f"apmigd's processor time until held, {GUESTS} guests, nothing else to do",
                       {f"stamp={form}": self.at_rest(form, self._consumed) for form in ("off", "full")}, count)
        self._with("full")
        self.manager.release(self.manager.take())
        self._settle()
        print(f"\nGuests that had a stamp in the end: {self.manager.remove_stamps()} of {GUESTS}.", flush=True)


def main():
    with common.private_bus() as bus:
        daemon = common.stamped_daemon(bus, GUESTS)
        with common.started(daemon):
            rig.until(lambda: "connected to" in daemon.read_log(), "libvirt")
            Bench(daemon, common.Manager(bus)).run(common.rounds(10))


main()
