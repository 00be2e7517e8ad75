# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lock over some queues: which of them a guest has is what the kernel says in guest_matrix of its device."""

from checks import assert_held
from devices import STANDIN
from fencing import PATIENT, assert_runs_at, assert_still_at_source

ELSEWHERE = "ff.00ff"  # declared by guests that have other queues


def test_queues_of_the_device(rig, a, b, helpers):
    """Only the guest whose device has a queue in the scope is ended; the other one migrates on."""
    mine = rig.start_device_guest("g1", a, STANDIN, scope=ELSEWHERE, queues=((4, 0x12),))
    other = rig.start_device_guest("g2", a, STANDIN, scope=ELSEWHERE, queues=((5, 0x13),))
    ended, untouched = (rig.move(guest, a, b, bandwidth=1) for guest in (mine, other))
    for guest in (mine, other):
        rig.wait_migrating(guest, a)
    taken = a.take("04.0012", **PATIENT).wait(90)
    assert taken.error is None, taken.message
    assert not ended.wait(90)
    assert_held(a, taken.lock_id)
    assert not untouched.ended and a.is_migrating_out(other.name)
    rig.finish_migration(other, a)
    assert untouched.wait(90), untouched.message
    assert_runs_at(rig, other, b, a)
    assert_runs_at(rig, mine, a, b)
    assert_held(a, taken.lock_id)


def test_queue_assigned_under_the_lock(rig, a, b, helpers):
    """There is no event for it: it is found out while the lock is held."""
    guest = rig.start_device_guest("g1", a, STANDIN, scope=ELSEWHERE, queues=((5, 0x13),))
    taken = a.take("05.0014", **PATIENT).wait(90)
    assert_held(a, taken.lock_id)
    guest.xml_for(b)
    for device in guest.devices.values():
        device.write("assign_domain", 0x14)
    migration = rig.move(guest, a, b, bandwidth=1)
    assert_still_at_source(rig, guest, a, b, migration)
    assert a.lock_property(taken.lock_id, "Breaches") + a.lock_property(taken.lock_id, "Attempts") == 1
