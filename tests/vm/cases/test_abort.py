# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lock while a guest with a device is on its way: ended by libvirt's own abort, with the device none the worse."""

import pytest
from checks import assert_aborted, assert_at_rest, assert_held, assert_refused_by
from devices import MTTY, STANDIN
from fencing import PATIENT

import vfio


@pytest.mark.parametrize("kind, direct", [(STANDIN, False), pytest.param(MTTY, True, marks=pytest.mark.thorough)],
                         ids=["vfio_ap_standin-p2p", "mtty-direct"])
def test_outgoing(rig, a, b, guest, kind, direct):
    migration = rig.move(guest, a, b, bandwidth=1, direct=direct)
    rig.wait_migrating(guest, a)
    taken = a.take(**PATIENT).wait(90)
    assert taken.error is None, taken.message
    assert_held(a, taken.lock_id)
    assert_aborted(migration, 60)
    assert_at_rest(rig, guest, a)
    assert guest.devices[a].state == vfio.RUNNING
    assert guest.devices[b].state is None
    a.release(taken.lock_id)
    assert rig.move(guest, a, b).wait(90)
    assert_at_rest(rig, guest, b)


def test_incoming_is_refused(rig, a, b, guest):
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert_refused_by(rig.move(guest, a, b), taken.lock_id, timeout=60)
    assert_at_rest(rig, guest, a)
    assert guest.devices[a].state == vfio.RUNNING
