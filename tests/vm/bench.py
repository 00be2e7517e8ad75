# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inside the machine: how long it takes until one migration is over when a lock is asked for, against what one would do
otherwise; and for how long a QEMU is frozen. Prints tables; asserts nothing.

    bench.py [ROUNDS]

In each round the ways take turns, in an order that rotates: ratios are of runs next to each other. Absolute times are
those of a machine emulated in software.
"""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "cases"), str(HERE.parent / "hosts"), str(HERE.parent)]

import vfio  # noqa: E402 (needs the path)
from devices import STANDIN, DeviceRig  # noqa: E402
from host import wait_for  # noqa: E402

KEYS = "04.0012"
GIVE_UP = 20  # seconds after which a way is called one that does not return
WORKERS, FEW_WORKERS = (5, 20), (1, 2)
OURS, ABORT, DESTROY = "TakeLock, until held", "virDomainAbortJob alone", "virsh destroy on the destination"


def ended(migrations):
    return all(migration.ended for migration in migrations)


def take(host):
    def way(guests, migrations):
        taken = host.take(timeout_usec=GIVE_UP * 1_000_000).wait(GIVE_UP + 20)
        if taken.error:
            return False
        host.release(taken.lock_id)
        return True

    return way


def each_guest(host, *command):
    """The command for all guests at once, then until their migrations are over."""
    def way(guests, migrations):
        calls = [host.spawn("virsh", "-c", "qemu:///system", *command, guest.name) for guest in guests]
        try:
            wait_for(lambda: ended(migrations), "", GIVE_UP)
            return True
        except AssertionError:
            return False
        finally:
            for call in calls:
                call.send(9)

    return way


class Bench:
    def __init__(self, rig, rounds):
        self.rig, self.rounds = rig, rounds
        self.a, self.b = rig.hosts

    def _comes_in(self, guest):
        return vfio.look_at_qemu(guest.devices[self.b].uuid) == (vfio.RESUMING, True)

    def _clean(self):
        self.rig.clean()
        for host in self.rig.hosts:
            host.start_fence()

    def measure(self, way, count):
        """Returns the seconds that @way takes to end @count migrations; None: it did not end them in time."""
        guests = [self.rig.start_device_guest(f"g{n}", self.a, STANDIN, scope=KEYS, queues=((4, 0x12 + n),))
                  for n in range(count)]
        migrations = [self.rig.move(guest, self.a, self.b, bandwidth=1) for guest in guests]
        wait_for(lambda: all(self._comes_in(guest) for guest in guests), "the migrations to begin", 60)
        time.sleep(1)
        begin = time.monotonic()
        done = way(guests, migrations)
        seconds = time.monotonic() - begin
        self.a.set_workers(*WORKERS)
        self._clean()
        return seconds if done else None

    def compare(self, title, ways, count=1, workers=WORKERS):
        """Prints medians, and the ratio to the second way round by round."""
        print(f"\n{title}\n", flush=True)
        seconds = {name: [] for name in ways}
        order = list(ways)
        for _ in range(self.rounds):
            for name in order:
                self.a.set_workers(*workers)
                seconds[name].append(self.measure(ways[name], count))
            order.append(order.pop(0))
        reference = seconds[list(ways)[1]]
        print("| way | median s | min .. max s | ratio to the abort alone |\n|---|---|---|---|")
        for name, values in seconds.items():
            print(f"| {name} | {self._figures(values)} | {self._ratio(values, reference)} |", flush=True)

    @staticmethod
    def _figures(values):
        done = [value for value in values if value is not None]
        if not done:
            return f"does not return within {GIVE_UP} s | -"
        note = "" if len(done) == len(values) else f" ({len(done)} of {len(values)} returned)"
        return f"{statistics.median(done):.2f}{note} | {min(done):.2f} .. {max(done):.2f}"

    @staticmethod
    def _ratio(values, reference):
        ratios = [mine / other for mine, other in zip(values, reference) if mine is not None and other is not None]
        return f"{statistics.median(ratios):.2f}" if ratios else "-"

    def freeze(self, counts=(0, 8, 32)):
        """Of an incoming QEMU with more and more threads."""
        print("\nFrozen, by the number of QEMU's tasks\n\n| tasks | median ms | min .. max ms |\n|---|---|---|")
        for count in counts:
            tasks, times = 0, []
            for _ in range(self.rounds):
                guest = self.rig.start_device_guest("g1", self.a, STANDIN, scope=KEYS, iothreads=count)
                self.rig.move(guest, self.a, self.b, bandwidth=1)
                wait_for(lambda guest=guest: self._comes_in(guest), "it to come in", 60)
                tasks = len(list(Path(f"/proc/{vfio.user_of(guest.devices[self.b].uuid)}/task").iterdir()))
                self.b.take(timeout_usec=60_000_000).wait(90)
                log = self.b.path("/var/log/apmigd-fence.log").read_text(encoding="utf-8")
                times.append(int(re.findall(r"fence of guest .*frozen for (\d+) us", log)[-1]) / 1000)
                self._clean()
            print(f"| {tasks} | {statistics.median(times):.1f} | {min(times):.1f} .. {max(times):.1f} |", flush=True)

    def run(self):
        for host in self.rig.hosts:
            host.start_fence()
        a, b = self.a, self.b
        others = {ABORT: each_guest(a, "domjobabort"), DESTROY: each_guest(b, "destroy")}
        self.compare("One outgoing migration; the lock is asked for on the source", {OURS: take(a), **others})
        self.compare("One incoming migration; the lock is asked for on the destination", {OURS: take(b), **others})
        self.compare("Two incoming migrations that keep all of the source's libvirtd workers busy",
                     {OURS: take(b), **others}, count=2, workers=FEW_WORKERS)
        self.freeze()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    subprocess.run(["systemctl", "stop", "apmigd"], check=True)
    with DeviceRig(install=Path("/")) as rig:
        Bench(rig, rounds).run()


main()
