# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd whose workers are busy with guests that do not concern apmigd: it answers no question, and what it tells by
itself is all there is to know. Nobody asks the guests where they go."""

import time

import pytest
from checks import KEYS, assert_held, leaves_unhindered, lock_state, take_held, told, told_guests, wait_state
from host import wait_for

WORKERS = 20  # libvirtd's default
BUSY = WORKERS - 1
UNPROVEN_WITHIN = 2  # seconds from libvirt's first event
STAYS_UNPROVEN = 6


@pytest.fixture
def hung(rig, a, b):
    """A guest without crypto whose monitor does not answer; where the guests go to, nobody knows of apmigd."""
    b.hide_hook()
    guest = rig.start_guest("hung", a)
    yield guest
    a.set_workers(5, WORKERS)


def busy_workers(host):
    text = host.run("virt-admin", "-c", "libvirtd:///system", "server-threadpool-info", "libvirtd").stdout
    numbers = {name.strip(): int(number) for name, _, number in (line.partition(":") for line in text.splitlines()) if number}
    return numbers["nWorkers"] - numbers["freeWorkers"]


def keep_busy(host, guest, count):
    """Each of so many clients keeps a worker, which waits for the guest or for who does. They give up after 30 s and ask
    again."""
    host.stop_qemu(guest)
    for number in range(1, count + 1):
        host.spawn("sh", "-c", "while :; do virsh -q -c qemu:///system qemu-monitor-command "
                   f"{guest} '{{\"execute\": \"query-status\"}}'; done", output="/run/rig/busy")
        if number % 4 == 0 or number == count:
            wait_for(lambda: busy_workers(host) >= number, f"{number} busy workers on {host.name}", 20, 0.1)


def test_four_leave_on_the_last_worker(rig, a, b, hung):
    """Each takes the one worker that is left, so that no question about it is answered while it leaves."""
    guests = rig.start_guests(4, a, scope=KEYS)
    lock = take_held(a)
    keep_busy(a, hung, BUSY)
    for guest in guests:
        leaves_unhindered(rig, guest, a, b)
    wait_for(lambda: a.lock_property(lock, "Breaches") == len(guests), "each to be counted", 5)
    assert sorted(set(told_guests(a, "LOCK_BREACHED"))) == [guest.name for guest in guests]
    a.end_background()
    wait_state(a, lock, "held")
    assert_held(a, lock, breaches=len(guests))


def test_no_worker_is_left(rig, a, b, hung):
    """An endless migration has the other of two workers: that nothing is in progress is not said while it lasts."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    a.set_workers(2, 2)
    keep_busy(a, hung, 1)
    watcher = a.watch_events(guest.name)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    wait_for(lambda: "migration-iteration" in watcher.output, "libvirt to tell of it")
    wait_for(lambda: lock_state(a, lock) in ("unproven", "breached"), "the lock to be doubted", UNPROVEN_WITHIN)
    end = time.monotonic() + STAYS_UNPROVEN
    while time.monotonic() < end:
        assert lock_state(a, lock) in ("unproven", "breached")
        time.sleep(0.1)
    assert not migration.ended
    assert any(guest.name in line for line in told(a, "VIEW_LATE") + told(a, "LOCK_BREACHED"))
    a.set_workers(5, WORKERS)
    wait_state(a, lock, "held", 40)
    assert not migration.wait()
    assert_held(a, lock, breaches=1)
    assert rig.where(guest) is a
