# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations ended through the device: by the destination's apmigd, which has no other means, and by the source's."""

import signal

import pytest
from checks import assert_at_rest, assert_held, only_lock
from devices import MTTY
from fencing import (PATIENT, assert_moves_again, assert_still_at_source, assert_untouched_processes, migration_on,
                     outcomes, result_of, steps_of, wait_outcome)
from host import wait_for

import vfio


def test_state_ends_nothing_on_vfio_ap(rig, a, b, guest, steps):
    """It is not touched, nothing is promised, and the guest arrives."""
    steps("vfio-state")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taking = b.take(**PATIENT)
    wait_outcome(b, seen, "vfio-state", "nothing-to-do")
    assert "keeps its data session open" in steps_of(b, seen)[0][3]
    assert vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, True)
    rig.finish_migration(guest, a)
    assert migration.wait(90), migration.message
    assert_held(b, taking.wait(90).lock_id)
    assert_at_rest(rig, guest, b)
    assert result_of(b, seen) == "completed"


def test_destination_fence_alone(rig, a, b, guest, steps, other_driver):
    """It acts at switchover, not at once."""
    steps("vfio-state")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taking = b.take(**PATIENT)
    wait_outcome(b, seen, "vfio-state", "requested")
    assert guest.devices[b].state == vfio.STOP
    assert_untouched_processes(guest.devices[a], guest.devices[b])
    assert not migration.ended and not taking.answered
    rig.finish_migration(guest, a)
    assert_still_at_source(rig, guest, a, b, migration)
    taken = taking.wait(90)
    assert_held(b, taken.lock_id)
    assert result_of(b, seen) == "aborted"
    b.release(taken.lock_id)
    assert_moves_again(rig, guest, a, b)


@pytest.mark.thorough
def test_destination_driver_refuses(rig, a, b, guest, steps, standin, other_driver):
    """RESUMING -> STOP may fail while the data is incomplete, as the interface has it (mtty does so, too): then nothing
    but the end of the QEMU is left."""
    standin("strict_resuming", "Y")
    steps("vfio-state", "kill-incoming")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert outcomes(b, seen)[0] == ("vfio-state", "failed")
    wait_outcome(b, seen, "kill-incoming", "requested")
    assert_still_at_source(rig, guest, a, b, migration)


@pytest.mark.thorough
def test_destination_while_loading(rig, a, b, guest, steps, standin):
    standin("load_delay_ms", 6000)
    steps("vfio-state", "kill-incoming")
    migration = rig.move(guest, a, b)
    wait_for(lambda: guest.devices[a].state in (vfio.STOP, vfio.STOP_COPY), "the switchover", 60)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    if migration.wait(90):  # it was loaded before the request was
        assert_at_rest(rig, guest, b)
    else:
        assert_still_at_source(rig, guest, a, b, migration)


def test_destination_too_late(rig, a, b, guest, steps):
    """The device's data is loaded, and the initiator is held back before it has the guest started: hands off."""
    steps("vfio-state", "kill-incoming")
    migration = rig.move(guest, a, b, bandwidth=1, direct=True)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    a.kill(migration.process.pid, signal.SIGSTOP)
    try:
        rig.finish_migration(guest, a)
        wait_for(lambda: vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, False), "the load to end", 60)
        taking = b.take(**PATIENT)
        wait_outcome(b, seen, "kill-incoming", "not-abortable")
        assert guest.devices[b].state == vfio.RESUMING
        assert_untouched_processes(guest.devices[a], guest.devices[b])
    finally:
        a.kill(migration.process.pid, signal.SIGCONT)
    assert migration.wait(90), migration.message
    assert_at_rest(rig, guest, b)
    taken = taking.wait(90)
    assert_held(b, taken.lock_id)
    assert result_of(b, seen) == "completed"


def test_arrived_paused(rig, a, b, guest, steps):
    """Its device stays RESUMING until it is started: that is no migration."""
    steps("vfio-state", "kill-incoming")
    assert rig.move(guest, a, b, "--suspend").wait(90)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert b.state_of("g1").startswith("paused") and a.guests() == []
    assert guest.devices[b].state == vfio.RESUMING
    b.virsh("resume", "g1")
    assert rig.where(guest) is b
    assert guest.devices[b].state == vfio.RUNNING


@pytest.mark.parametrize("kind", [MTTY], ids=str)
def test_source_fence_alone(rig, a, b, guest, steps):
    """A device with pre-copy: its data stream ends, and QEMU notices at its next read."""
    steps("vfio-state")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    taking = a.take(**PATIENT)
    lock = only_lock(a)
    seen = migration_on(a, "out")
    wait_outcome(a, seen, "vfio-state", "requested")
    rig.finish_migration(guest, a)
    assert_still_at_source(rig, guest, a, b, migration)
    assert taking.wait(90).lock_id == lock
    assert_held(a, lock)
    assert result_of(a, seen) == "aborted"
    a.release(lock)
    assert_moves_again(rig, guest, a, b)


@pytest.mark.thorough
def test_source_without_pre_copy(rig, a, b, guest, steps, standin, other_driver):
    """While memory is sent there is nothing to fence; while the device is saved there is."""
    standin("save_delay_ms", 5000)
    steps("vfio-state")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    taking = a.take(**PATIENT)
    lock = only_lock(a)
    seen = migration_on(a, "out")
    wait_outcome(a, seen, "vfio-state", "nothing-to-do")
    assert guest.devices[a].state == vfio.RUNNING
    rig.finish_migration(guest, a)
    wait_outcome(a, seen, "vfio-state", "requested")
    assert_still_at_source(rig, guest, a, b, migration)
    assert taking.wait(90).lock_id == lock
    assert_held(a, lock)


@pytest.mark.thorough
def test_without_helper(rig, a, b, guest, helpers):
    """Not installed: libvirt's abort does what it can, and the guest that comes in is waited for."""
    for host in rig.hosts:
        host.run("rm", "-f", "/run/apmigd-fence.sock")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taken = b.take(timeout_usec=8_000_000).wait(60)
    assert taken.error == "Timeout" and "g1" in taken.message
    assert ("vfio-state", "unavailable") in outcomes(b, seen)
    assert not migration.ended
    held = a.take(**PATIENT).wait(90)
    assert_held(a, held.lock_id)
    assert_still_at_source(rig, guest, a, b, migration)
