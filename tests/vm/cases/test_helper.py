# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigd-fence at its worst moments: with a QEMU frozen, and with a driver that keeps whoever asks it."""

import os
import time

import proc
import pytest
from checks import assert_held
from fencing import (PATIENT, assert_moves_again, assert_still_at_source, assert_untouched_processes, frozen_ms, migration_on,
                     outcomes, steps_of, wait_outcome)
from host import wait_for

TRIALS = int(os.environ.get("APMIGD_TRIALS", "2"))
GO = "/run/apmigd-fence-go"


def processes(name):
    """{pid: state} of those whose program it is."""
    found = {}
    for path, stat in proc.read_all("/proc/[0-9]*/stat").items():
        before, _, after = stat.rpartition(") ")
        if before.partition("(")[2].startswith(name[:15]):
            found[int(path.parent.name)] = after[0]
    return found


def wait_nobody_left(b, device):
    wait_for(lambda: not processes("apmigd-fence"), "the last helper to be gone", 60)
    wait_for(lambda: "D" not in processes("qemu-system").values(), "no QEMU to be left in the kernel", 60)
    assert device.state is None


def test_stopped_with_qemu_frozen(rig, a, b, guest, steps):
    """QEMU runs on after a tenth of a second. The step is tried again, and does what it is for."""
    steps("kill-incoming")
    b.start_fence(failpoint="stop:qemu-frozen")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taking = b.take(**PATIENT)
    wait_outcome(b, seen, "kill-incoming", "failed")
    assert "may be frozen for, and runs on" in steps_of(b, seen)[0][3]
    b.start_fence()
    wait_outcome(b, seen, "kill-incoming", "requested")
    assert frozen_ms(b, seen) <= 100
    assert_still_at_source(rig, guest, a, b, migration)
    assert_held(b, taking.wait(90).lock_id)


def hold_when_about_to_freeze(b, standin):
    """Holds the lock of all devices once a helper waits at its failpoint, and lets that go."""
    def waits():
        before = set(processes("apmigd-fence"))
        time.sleep(0.4)
        return before & set(processes("apmigd-fence"))

    wait_for(waits, "the helper to be about to freeze", 60)
    standin("hold_lock_ms", 12_000)
    b.path(GO).touch()
    return time.monotonic() + 12


@pytest.mark.thorough
@pytest.mark.timeout(TRIALS * 200)
def test_lock_of_all_devices_held_when_frozen(rig, a, b, guest, steps, standin, record_property):
    """Nothing that is done with a QEMU frozen asks a driver: the one that would wait is not there."""
    steps("kill-incoming")
    frozen = []
    for _ in range(TRIALS):
        b.path(GO).unlink(missing_ok=True)
        b.start_fence(failpoint="hang:qemu-to-be-frozen")
        migration = rig.move(guest, a, b, bandwidth=1)
        rig.wait_migrating(guest, a)
        seen = migration_on(b, "in")
        taking = b.take(**PATIENT)
        end = hold_when_about_to_freeze(b, standin)
        wait_outcome(b, seen, "kill-incoming", "requested")
        assert time.monotonic() < end, "the driver was free again before anything was done"
        frozen.append(frozen_ms(b, seen))
        time.sleep(max(0, end - time.monotonic()))
        assert_still_at_source(rig, guest, a, b, migration)
        taken = taking.wait(90)
        assert_held(b, taken.lock_id)
        wait_nobody_left(b, guest.devices[b])
        b.release(taken.lock_id)
    record_property("frozen, ms", ", ".join(map(str, frozen)))
    assert max(frozen) <= 100
    b.start_fence()
    assert_moves_again(rig, guest, a, b)


def test_driver_keeps_whoever_asks(rig, a, b, guest, steps, standin):
    """It is asked by one process alone, which is left to it. QEMU is not frozen meanwhile, and is killed all the same, for
    that takes nothing of the driver."""
    steps("kill-incoming")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    standin("hold_lock_ms", 60_000)
    taking = b.take(**PATIENT)
    wait_outcome(b, seen, "kill-incoming", "requested")
    assert frozen_ms(b, seen) <= 100
    assert list(processes("apmigd-fence").values()) in (["D"], [])
    standin("hold_lock_ms", 0)
    assert_still_at_source(rig, guest, a, b, migration)
    assert_held(b, taking.wait(90).lock_id)
    wait_nobody_left(b, guest.devices[b])
    assert_untouched_processes(guest.devices[a])
    assert ("vfio-state", "requested") not in outcomes(b, seen)
