# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest whose monitor does not answer: libvirt has a job for whoever asked it, and everybody else waits for that."""

from checks import KEYS, assert_unlocked, take_held
from host import wait_for

SECONDS = 5


def hang(host, guest):
    """From now on its job is somebody's who waits for its QEMU."""
    host.stop_qemu(guest)
    host.spawn("virsh", "-q", "-c", "qemu:///system", "qemu-monitor-command", guest, '{"execute": "query-status"}')
    wait_for(lambda: host.run("timeout", "0.5", "virsh", "-q", "-c", "qemu:///system", "domjobinfo", guest.name,
                              check=False).returncode == 124, f"{guest} to hang")


def test_without_crypto(rig, a):
    """What it has was read when it started, so nothing of it is asked now."""
    guest = rig.start_guest("g1", a)
    rig.start_guest("g2", a, scope=KEYS)
    a.release(take_held(a))  # by then all guests have been read
    hang(a, guest)
    assert take_held(a, timeout_usec=SECONDS * 1000000)


def test_affected(rig, a):
    """It may migrate for all that is known: not held, and it is said because of whom, and what to do."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    a.release(take_held(a))
    hang(a, guest)
    take = a.take(timeout_usec=SECONDS * 1000000).wait()
    assert take.error in ("Timeout", "HypervisorUnavailable")
    assert guest.name in take.message and "virsh domjobinfo" in take.message, take.message
    assert_unlocked(a)
