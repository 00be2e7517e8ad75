# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt does not answer: saturated, hung, or gone while its migration goes on. Then a migration is ended from where
it can be, and nothing is held of which libvirt has not told that it is over."""

import signal

import pytest
from checks import KEYS, assert_held, assert_waits, only_lock
from devices import MTTY, STANDIN
from fencing import PATIENT, assert_still_at_source, migration_on, wait_outcome
from host import wait_for

import vfio

LONG = {"timeout": 300, "timeout_usec": 280_000_000}


@pytest.fixture
def few_workers(a):
    """The source's libvirtd has two workers: so many migrations keep it busy."""
    a.set_workers(1, 2)
    yield 2
    a.set_workers(5, 20)


@pytest.mark.thorough
def test_destination_hangs(rig, a, b, guest, steps):
    """Nobody says that it is no restore's QEMU, so it is left alone until somebody does."""
    steps("vfio-state", "kill-incoming")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    b.kill(b.libvirtd.pid, signal.SIGSTOP)
    try:
        taking = b.take(**PATIENT)
        assert_waits(b, taking, only_lock(b), 5)
        assert vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, True)
    finally:
        b.kill(b.libvirtd.pid, signal.SIGCONT)
    wait_outcome(b, seen, "kill-incoming", "requested")
    taken = taking.wait(90)
    assert_held(b, taken.lock_id)
    assert_still_at_source(rig, guest, a, b, migration)


def test_source_terminated(rig, a, b, guest, helpers):
    """Its libvirtd takes no connection any more and lives on while the migration does. Its apmigd says that it cannot
    know; the destination's ends it."""
    rig.deaths_expected = True
    rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    a.libvirtd.send(signal.SIGTERM)
    wait_for(lambda: a.hypervisor_state() == "disconnected", "the source's apmigd to notice")
    refused = a.take(timeout_usec=3_000_000).wait(60)
    assert refused.error == "HypervisorUnavailable"
    assert vfio.user_of(guest.devices[a].uuid) and vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, True)
    at_source = a.take(**LONG)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert vfio.user_of(guest.devices[b].uuid) is None
    assert only_lock(a, "draining") and not at_source.answered
    a.libvirtd.wait(60)
    a.start_libvirtd()
    assert_held(a, at_source.wait(110).lock_id)
    assert rig.where(guest) is a
    assert guest.devices[a].state == vfio.RUNNING


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [MTTY], ids=str)
def test_source_terminated_with_pre_copy(rig, a, b, guest, steps):
    """What the source's apmigd knew of the migration is enough to end the device's stream without libvirt."""
    rig.deaths_expected = True
    steps("vfio-state")
    rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    at_source = a.take(**LONG)
    lock = only_lock(a)
    seen = migration_on(a, "out")
    wait_outcome(a, seen, "vfio-state", "requested")
    a.libvirtd.send(signal.SIGTERM)
    wait_for(lambda: guest.devices[a].state == vfio.RUNNING, "the device's stream to be ended", 30)
    assert not at_source.answered
    a.libvirtd.wait(60)
    a.start_libvirtd()
    assert at_source.wait(110).lock_id == lock
    assert_held(a, lock)
    assert rig.where(guest) is a
    assert guest.devices[a].state == vfio.RUNNING


def test_source_saturated(rig, a, b, helpers, few_workers):
    """Each of its workers is kept by a migration: no abort gets through. From the destination they are ended."""
    guests = [rig.start_device_guest(f"g{n}", a, STANDIN, scope=KEYS, queues=((4, n),)) for n in range(few_workers)]
    migrations = [rig.move(guest, a, b, bandwidth=1) for guest in guests]
    wait_for(lambda: all(guest.devices[b].state == vfio.RESUMING for guest in guests), "all to come in", 60)
    at_source = a.take(**LONG)
    lock = only_lock(a)
    assert_waits(a, at_source, lock, 6)
    assert not any(migration.ended for migration in migrations)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert at_source.wait(110).lock_id == lock
    assert_held(a, lock)
    for guest, migration in zip(guests, migrations):
        assert_still_at_source(rig, guest, a, b, migration)
