# SPDX-License-Identifier: LGPL-2.1-or-later
"""What apmigd costs a host where nothing happens: memory (PSS, with its share of what others have mapped too), and how
often it wakes, that is how often its threads gave the processor up by themselves (voluntary context switches of
/proc/PID/task/*/status). The guests are those of libvirt's test driver, which keeps them in apmigd's own memory.

    idle.py [SECONDS]        how long wake-ups are counted
"""

import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import common
from common import rig

GUESTS = 200
SLICE = 0.5  # seconds: a thread that ends takes its count with it
REST = 12  # seconds: guests get their stamps 10 s after apmigd has found libvirt
WATCHDOG = {"WATCHDOG_USEC": "30000000"}  # as the unit has it


@contextmanager
def host(guests, **environment):
    """Gives apmigd, which has seen libvirt, and its manager."""
    with common.private_bus() as bus:
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD, common.test_host(bus.folder, guests))
        daemon.environment.update(environment)
        with common.started(daemon):
            rig.until(lambda: "connected to" in daemon.read_log(), "libvirt")
            yield daemon, common.Manager(bus)


# --- memory ------------------------------------------------------------------------------------------------


def proportional(pid):
    """PSS, and of it what is no file's, in KiB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if ":" in line)
    return [int(fields[name].split()[0]) for name in ("Pss", "Pss_Anon")]


def measure_memory():
    rows = {}
    for guests in (0, GUESTS):
        with host(guests) as (daemon, manager):
            common.settle(daemon.process.pid, quiet=REST)
            rows[f"{guests} guests"] = proportional(daemon.process.pid)
            lock = manager.take()
            common.settle(daemon.process.pid, quiet=2)
            rows[f"{guests} guests, a lock is held"] = proportional(daemon.process.pid)
            manager.release(lock)
            rows["the bus, to compare with"] = proportional(daemon.bus.process.pid)
    print("\nMemory\n\n| apmigd | PSS KiB | of which anonymous |\n|---|---|---|")
    for what, (everything, anonymous) in rows.items():
        print(f"| {what} | {everything} | {anonymous} |", flush=True)


# --- wake-ups ----------------------------------------------------------------------------------------------


def switches(pid):
    """By thread."""
    found = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[status.parent.name] = int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return found


class Watch:
    """What a process does from now on."""

    def __init__(self, pid):
        self.pid, self.first, self.last = pid, switches(pid), {}
        self.before, self.spent = common.consumed(pid), 0

    def look(self):
        self.last.update(switches(self.pid))
        self.spent = common.consumed(self.pid) - self.before

    def wakeups(self):
        return sum(count - self.first.get(thread, 0) for thread, count in self.last.items())


def measure_wakeups(seconds):
    """All at the same time, each on a bus of its own."""
    with ExitStack() as stack:
        hosts = {f"{GUESTS} guests, no lock, no watchdog": stack.enter_context(host(GUESTS)),
                 f"{GUESTS} guests, no lock": stack.enter_context(host(GUESTS, **WATCHDOG)),
                 "0 guests, a lock is held": stack.enter_context(host(0, **WATCHDOG)),
                 f"{GUESTS} guests, a lock is held": stack.enter_context(host(GUESTS, **WATCHDOG))}
        for daemon, _ in hosts.values():
            common.settle(daemon.process.pid, quiet=REST)
        for what, (daemon, manager) in hosts.items():
            if "held" in what:
                manager.take()
        for daemon, _ in hosts.values():
            common.settle(daemon.process.pid, quiet=2)
        watches = {what: Watch(daemon.process.pid) for what, (daemon, _) in hosts.items()}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(SLICE)
            for watch in watches.values():
                watch.look()
    print(f"\nNothing happens for {seconds} s\n\n| apmigd | wake-ups a second | processor time, ms a second |\n|---|---|---|")
    for what, watch in watches.items():
        print(f"| {what} | {watch.wakeups() / seconds:.2f} | {1000 * watch.spent / seconds:.2f} |", flush=True)


def main():
    measure_memory()
    measure_wakeups(int(sys.argv[1]) if len(sys.argv) > 1 else 45)


main()
