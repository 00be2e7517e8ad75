# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations ended through the device: by the destination's apmigd, which has no other means, and by the source's.
Each case ends by asking where the guest runs, what the device's state is on either side, whether anything is still
traced or held open, and whether the guest can be moved afterwards."""

import json
import signal
import time
from pathlib import Path

import pytest
from checks import KEYS, assert_at_rest, assert_held, only_lock
from devices import MTTY, STANDIN
from host import wait_for

import vfio

PATIENT = {"timeout_usec": 60_000_000}
DEADLINES = {"libvirt-abort": 20_000_000, "vfio-state": 10_000_000, "kill-incoming": 20_000_000}


@pytest.fixture
def steps(rig):
    """Has both hosts' apmigd end migrations by the steps named, and by them alone."""
    def choose(*names):
        policy = {"steps": [{"step": name, "deadline-usec": DEADLINES[name]} for name in names]}
        for host in rig.hosts:
            folder = host.path("/etc/apmigd/policy.d")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "50-test.json").write_text(json.dumps(policy), encoding="ascii")
            host.stop_apmigd()
            host.start_apmigd()
            host.start_fence()

    yield choose
    for host in rig.hosts:
        host.path("/etc/apmigd/policy.d/50-test.json").unlink(missing_ok=True)


def migration_on(host, direction, timeout=20):
    """The path of the one migration there."""
    def find():
        return [m["path"] for m in host.migrations() if m["direction"] == direction and m["phase"] != "admitted"]

    return wait_for(find, f"a migration {direction} on {host.name}", timeout)[0]


def outcomes(host, path):
    return [(step, outcome) for step, outcome, _, _ in host.get_property(path, "Migration", "Steps")]


def wait_outcome(host, path, step, outcome, timeout=60):
    wait_for(lambda: (step, outcome) in outcomes(host, path), f"{step} to be {outcome} on {host.name}", timeout)


def assert_untouched_processes(*devices):
    """No QEMU of theirs is traced or stopped."""
    for device in devices:
        pid = vfio.user_of(device.uuid)
        if pid:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            assert "TracerPid:\t0\n" in status and "State:\tT" not in status and "State:\tt" not in status


def assert_still_at_source(rig, guest, a, b, migration):
    assert not migration.wait(90), "the migration has completed"
    assert_at_rest(rig, guest, a)
    assert guest.devices[a].state == vfio.RUNNING
    assert guest.devices[b].state is None
    assert_untouched_processes(guest.devices[a])


def assert_moves_again(rig, guest, source, destination):
    """By removing and making anew the device of a driver that keeps its state: no descriptor of ours holds it."""
    again = rig.move(guest, source, destination)
    assert again.wait(90), again.message
    assert_at_rest(rig, guest, destination)
    assert guest.devices[destination].state == vfio.RUNNING


def test_destination_fence_alone(rig, a, b, steps):
    """It acts at switchover, not at once."""
    steps("vfio-state")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
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
    assert b.get_property(seen, "Migration", "Result") == "aborted"
    b.release(taken.lock_id)
    assert_moves_again(rig, guest, a, b)


@pytest.mark.parametrize("direct", [False, True], ids=["p2p", "direct"])
def test_destination_all_steps(rig, a, b, steps, direct):
    """A migration that never reaches its switchover: the fence is late, and the incoming QEMU is killed."""
    steps("libvirt-abort", "vfio-state", "kill-incoming")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
    migration = rig.move(guest, a, b, bandwidth=1, direct=direct)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taken = b.take(**PATIENT).wait(90)
    assert taken.error is None, taken.message
    assert_held(b, taken.lock_id)
    assert outcomes(b, seen) == [("vfio-state", "requested"), ("kill-incoming", "requested")]
    assert b.get_property(seen, "Migration", "Result") == "aborted"
    assert_still_at_source(rig, guest, a, b, migration)
    b.release(taken.lock_id)
    assert_moves_again(rig, guest, a, b)


@pytest.mark.parametrize("kind", [STANDIN, MTTY], ids=str)
def test_destination_driver_refuses(rig, a, b, steps, standin, kind):
    """RESUMING -> STOP may fail while the data is incomplete, as the interface has it and mtty does it: then nothing
    but the end of the QEMU is left."""
    standin("strict_resuming", "Y")
    steps("vfio-state", "kill-incoming")
    guest = rig.start_device_guest("g1", a, kind, scope=KEYS)
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert outcomes(b, seen)[0] == ("vfio-state", "failed")
    assert ("kill-incoming", "requested") in outcomes(b, seen)
    assert_still_at_source(rig, guest, a, b, migration)


def test_destination_while_loading(rig, a, b, steps, standin):
    standin("load_delay_ms", 6000)
    steps("vfio-state", "kill-incoming")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
    migration = rig.move(guest, a, b)
    wait_for(lambda: guest.devices[a].state in (vfio.STOP, vfio.STOP_COPY), "the switchover", 60)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    if migration.wait(90):  # it was loaded before the request was
        assert_at_rest(rig, guest, b)
    else:
        assert_still_at_source(rig, guest, a, b, migration)


def test_destination_too_late(rig, a, b, steps):
    """The device's data is loaded, and the initiator is held back before it has the guest started: hands off."""
    steps("vfio-state", "kill-incoming")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
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
    assert b.get_property(seen, "Migration", "Result") == "completed"


def test_arrived_paused(rig, a, b, steps):
    """Its device stays RESUMING until it is started: that is no migration."""
    steps("vfio-state", "kill-incoming")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
    assert rig.move(guest, a, b, "--suspend").wait(90)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert b.state_of("g1").startswith("paused") and a.guests() == []
    assert guest.devices[b].state == vfio.RESUMING
    b.virsh("resume", "g1")
    assert rig.where(guest) is b
    assert guest.devices[b].state == vfio.RUNNING


def test_source_fence_alone(rig, a, b, steps):
    """A device with pre-copy: its data stream ends, and QEMU notices at its next read."""
    steps("vfio-state")
    guest = rig.start_device_guest("g1", a, MTTY, scope=KEYS)
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
    assert a.get_property(seen, "Migration", "Result") == "aborted"
    a.release(lock)
    assert_moves_again(rig, guest, a, b)


def test_source_without_pre_copy(rig, a, b, steps, standin):
    """While memory is sent there is nothing to fence; while the device is saved there is."""
    standin("save_delay_ms", 5000)
    steps("vfio-state")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
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


def test_libvirtd_hangs(rig, a, b, steps):
    """The destination's libvirt answers nothing: the device is fenced and the QEMU killed all the same, but nothing is
    held until libvirt has been asked."""
    steps("vfio-state", "kill-incoming")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    b.kill(b.libvirtd.pid, signal.SIGSTOP)
    try:
        taking = b.take(**PATIENT)
        wait_for(lambda: vfio.user_of(guest.devices[b].uuid) is None, "the incoming QEMU to be gone", 60)
        assert ("kill-incoming", "requested") in outcomes(b, seen)
        time.sleep(1)
        assert not taking.answered
    finally:
        b.kill(b.libvirtd.pid, signal.SIGCONT)
    taken = taking.wait(90)
    assert_held(b, taken.lock_id)
    assert_still_at_source(rig, guest, a, b, migration)


def test_without_helper(rig, a, b):
    """Not installed: libvirt's abort does what it can, and the guest that comes in is waited for."""
    for host in rig.hosts:
        host.run("rm", "-f", "/run/apmigd-fence.sock")
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS)
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
