# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the benches have in common: ways that take turns and are printed as a table, and apmigd on a private bus.

A bench is a file beside this one, named by `tests/run.sh bench NAME`; it prints tables and asserts nothing.
"""

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import gi

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "bus"))
gi.require_version("Gio", "2.0")

import rig  # noqa: E402 (needs the path)
from gi.repository import Gio, GLib  # noqa: E402 (needs the version)

LIMIT_MS = 120_000


def rounds(default):
    """How often each way is measured."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default


def timed(function, *arguments, **options):
    begin = time.monotonic()
    function(*arguments, **options)
    return time.monotonic() - begin


def children_time(function, *arguments):
    """The processor time of the processes that it starts and waits for, and of all theirs: unlike the time on the clock,
    what else the machine does hardly matters."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    begin = used()
    function(*arguments)
    return used() - begin


def processor_time(command, **options):
    return children_time(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options))


def compare(title, ways, count, unit="ms"):
    """@ways: by name, functions that return the seconds that they took; the first is what the others are held against.
    In each round they take turns, in an order that rotates: ratios are of runs next to each other."""
    seconds, order, scale = {name: [] for name in ways}, list(ways), {"ms": 1e3, "µs": 1e6, "ns": 1e9}[unit]
    for _ in range(count):
        for name in order:
            seconds[name].append(ways[name]())
        order.append(order.pop(0))
    reference = next(iter(seconds.values()))
    print(f"\n{title} ({count} rounds)\n\n| way | median {unit} | min .. max {unit} | ratio |\n|---|---|---|---|")
    for name, values in seconds.items():
        ratio = statistics.median(mine / other for mine, other in zip(values, reference))
        median, least, most = (scale * figure for figure in (statistics.median(values), min(values), max(values)))
        print(f"| {name} | {median:.2f} | {least:.2f} .. {most:.2f} | {ratio:.2f} |", flush=True)


def consumed(pid):
    """Seconds of processor time that a process has had, with threads that have ended."""
    return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) makes it: CPUCLOCK_SCHED, of the whole process


def _is_running(pid):
    """Whether one of its threads has or wants the processor."""
    try:
        stats = [path.read_text().rpartition(")")[2].split() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return True  # a thread has just ended
    return any(stat[0] == "R" for stat in stats)


def settle(pid, quiet=0.5, interval=0.05):
    """Until the process has done nothing for @quiet seconds, however busy the machine is."""
    since, last = time.monotonic(), None
    while time.monotonic() - since < quiet:
        now = consumed(pid)
        if now != last or _is_running(pid):
            since, last = time.monotonic(), now
        time.sleep(interval)


def _domains(guests):
    return {f"g{n}": rig.domain(f"g{n}", rig.uuid_of(n), "04.0012").replace("type='kvm'", "type='test'")
            for n in range(1, guests + 1)}


def test_host(folder, guests):
    """A libvirt URI: its test driver, with so many affected guests that run. Each connection has its own."""
    (folder / "node.xml").write_text(f"<node>{''.join(_domains(guests).values())}</node>", encoding="utf-8")
    return f"test://{folder}/node.xml"


def stamped_daemon(bus, guests):
    """A daemon with as many, which all of its connections share, and which it changes by itself: the driver's guests are within
    the process that uses them."""
    daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, "test:///default")
    folder = bus.folder / "guests"
    folder.mkdir()
    for name, xml in _domains(guests).items():
        (folder / f"{name}.xml").write_text(xml, encoding="utf-8")
    daemon.environment["APMIGD_TEST_GUESTS"] = str(folder)
    return daemon


@contextmanager
def private_bus(more=""):
    """A bus in a folder of its own. @more: of its configuration"""
    folder = Path(tempfile.mkdtemp(prefix="apmigd-bench-"))
    folder.chmod(0o755)
    bus = rig.Bus(folder, more)
    try:
        yield bus
    finally:
        bus.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(daemon, **policy):
    """apmigd, running."""
    daemon.policy(**policy)
    try:
        yield daemon.start()
    finally:
        daemon.close()


class Manager:
    """Calls from this process: no other is started for them."""

    def __init__(self, bus):
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        self._bus = Gio.DBusConnection.new_for_address_sync(bus.address, flags, None, None)

    def call(self, member, arguments=None, interface=rig.MANAGER):
        return self._bus.call_sync(rig.NAME, rig.ROOT_PATH, interface, member, arguments, None,
                                   Gio.DBusCallFlags.NONE, LIMIT_MS, None).unpack()

    def take(self, scope="all"):
        """Until it is held; returns its path."""
        return self.call("TakeLock", GLib.Variant("(ssa{sv})", (scope, "bench", {})))[0]

    def release(self, path):
        self.call("ReleaseLock", GLib.Variant("(oa{sv})", (path, {})))

    def ask(self):
        """The least that apmigd can be asked."""
        self.call("Get", GLib.Variant("(ss)", (rig.MANAGER, "Locked")), rig.PROPERTIES)

    def remove_stamps(self, guest=""):
        """How many guests had one."""
        return self.call("RemoveStamps", GLib.Variant("(s)", (guest,)))[0]
