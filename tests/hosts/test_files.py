# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that leaves QEMU under a held lock and goes into a file: libvirt tells of it as of a migration. It is none, and
is left alone."""

import pytest
from checks import KEYS, assert_at_rest, assert_held, departed, take_held, told, wait_state
from host import wait_for

MEMORY = "file=/var/lib/libvirt/rig.memory,snapshot=external"
SNAPSHOT = ("snapshot-create-as", "g1", "--no-metadata", "--memspec", MEMORY, "--diskspec", "fda,snapshot=no")
ENDING = {"save": ("save", "g1", "/var/lib/libvirt/rig.save"), "managed-save": ("managedsave", "g1")}
STAYING = {
    "snapshot": SNAPSHOT,
    "live snapshot": (*SNAPSHOT, "--live"),
    "dump": ("dump", "g1", "/var/lib/libvirt/rig.dump"),
}


def assert_nothing_happened(host, lock_id):
    """It was doubted, perhaps, and is held again."""
    wait_state(host, lock_id, "held")
    assert_held(host, lock_id)
    assert host.lock_property(lock_id, "Attempts") == 0 and departed(host, lock_id) == []
    assert told(host, "LOCK_BREACHED") == [] and host.migrations() == []


@pytest.mark.parametrize("job", ENDING)
def test_guest_that_is_saved(rig, a, job):
    guest = rig.start_guest("g1", a, scope=KEYS, define=job == "managed-save")
    lock = take_held(a)
    a.virsh(*ENDING[job])
    assert guest.name not in a.guests()
    assert_nothing_happened(a, lock)


def test_guest_that_goes_on(rig, a):
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    watcher = a.watch_events(guest.name)
    for number, job in enumerate(STAYING, 1):
        a.virsh(*STAYING[job])
        wait_for(lambda: watcher.output.count("iteration: '1'") == number, f"libvirt to tell of memory sent for a {job}")
        assert_nothing_happened(a, lock)
    assert_at_rest(rig, guest, a)
