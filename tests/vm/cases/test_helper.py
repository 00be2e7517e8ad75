# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigd-fence that dies at the worst moment: with a QEMU frozen."""

import os
import signal
from pathlib import Path

from checks import assert_held, only_lock, wait_state
from fencing import (PATIENT, assert_still_at_source, assert_untouched_processes, migration_on, outcomes,
                     wait_outcome)
from host import wait_for

import vfio


def helpers_of(qemu):
    """Pids of the processes that trace a task of @qemu."""
    tracers = set()
    for path in Path(f"/proc/{qemu}/task").glob("*/status"):
        fields = dict(line.partition(":")[::2] for line in path.read_text(encoding="ascii").splitlines())
        tracers.add(int(fields["TracerPid"]))
    return tracers - {0}


def wait_frozen(device):
    """Until the QEMU of @device is frozen by a helper that has stopped itself. Returns their pids."""
    qemu = vfio.user_of(device.uuid)
    helper, = wait_for(lambda: helpers_of(qemu), "QEMU to be frozen", 60)
    stat = Path(f"/proc/{helper}/stat")
    wait_for(lambda: stat.read_text(encoding="ascii").rpartition(") ")[2].startswith("T"), "the helper to stop", 20)
    states = {path.read_text(encoding="ascii").rpartition(") ")[2][0]
              for path in Path(f"/proc/{qemu}/task").glob("*/stat")}
    assert states == {"t"}
    return qemu, helper


def test_killed_with_qemu_frozen(rig, a, b, guest, steps):
    """The kernel lets QEMU run on. The step is tried again, and does what it is for."""
    steps("vfio-state")
    b.start_fence(failpoint="stop:qemu-frozen")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taking = b.take(**PATIENT)
    _, helper = wait_frozen(guest.devices[b])
    b.start_fence()
    os.kill(helper, signal.SIGKILL)
    wait_outcome(b, seen, "vfio-state", "requested")
    assert outcomes(b, seen)[0] == ("vfio-state", "failed")
    assert_untouched_processes(guest.devices[b], guest.devices[a])
    assert not taking.answered
    rig.finish_migration(guest, a)
    assert_still_at_source(rig, guest, a, b, migration)
    assert_held(b, taking.wait(90).lock_id)


def test_both_killed_with_qemu_frozen(rig, a, b, guest, steps):
    """apmigd too. The migration goes on as if nobody had been there; the lock, of which nobody was told, is dealt with
    by the apmigd that comes after."""
    rig.deaths_expected = True
    steps("vfio-state")
    b.start_fence(failpoint="stop:qemu-frozen")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    b.take(**PATIENT)
    lock = only_lock(b)
    _, helper = wait_frozen(guest.devices[b])
    b.start_fence()
    b.stop_apmigd(signal.SIGKILL)
    os.kill(helper, signal.SIGKILL)
    wait_for(lambda: not helpers_of(vfio.user_of(guest.devices[b].uuid)), "the kernel to let QEMU go", 5)
    assert_untouched_processes(guest.devices[b], guest.devices[a])
    assert vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, True) and not migration.ended
    b.start_apmigd()
    assert [entry["id"] for entry in b.locks()] == [lock]
    rig.finish_migration(guest, a)
    wait_state(b, lock, "held", 60)
    if migration.wait(90):
        assert rig.where(guest) is b
    else:
        assert_still_at_source(rig, guest, a, b, migration)
