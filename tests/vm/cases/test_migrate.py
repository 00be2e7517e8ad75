# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migration of a guest with a device, left alone: what the cases about ending one compare with."""

import pytest
from devices import KINDS, MTTY, STANDIN
from host import wait_for

import vfio


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    return request.param


def test_there_and_back(rig, a, b, guest, kind):
    """One way peer to peer, the other driven by virsh."""
    assert guest.devices[a].state == vfio.RUNNING
    for source, destination, direct in ((a, b, False), (b, a, True)):
        migration = rig.move(guest, source, destination, direct=direct)
        assert migration.wait(90), migration.message
        assert rig.where(guest) is destination
        assert guest.devices[destination].state == vfio.RUNNING
        assert guest.devices[source].state is None


@pytest.mark.thorough
def test_states_under_way(rig, a, b, guest, kind):
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    source, destination = guest.devices[a], guest.devices[b]
    assert source.state == (vfio.PRE_COPY if kind is MTTY else vfio.RUNNING)
    assert vfio.look_at_qemu(destination.uuid) == (vfio.RESUMING, True)
    rig.finish_migration(guest, a)
    assert migration.wait(90), migration.message
    assert rig.where(guest) is b
    assert vfio.look_at_qemu(destination.uuid) == (vfio.RUNNING, False)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [STANDIN], ids=str)
def test_slow_save_and_load(rig, a, b, guest, standin):
    """The windows that the cases about ending a migration need."""
    standin("save_delay_ms", 2000)
    standin("load_delay_ms", 4000)
    migration = rig.move(guest, a, b)
    wait_for(lambda: guest.devices[a].state == vfio.STOP_COPY, "the source's device to be saved", 60)
    assert vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, True)
    assert migration.wait(90), migration.message
    assert rig.where(guest) is b


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [STANDIN], ids=str)
def test_configuration_that_differs(rig, a, b, guest):
    """The source's replaces it."""
    guest.xml_for(b)
    guest.devices[b].write("assign_domain", 0x13)
    assert rig.move(guest, a, b).wait(90)
    assert rig.where(guest) is b
    assert guest.devices[b].read("ap_config") == guest.devices[a].read("ap_config")


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [STANDIN], ids=str)
def test_hardware_that_differs(rig, a, b, guest, standin):
    """The device's own refusal: the guest goes on at the source, and can be moved once the destination is mended."""
    standin("save_delay_ms", 3000)
    migration = rig.move(guest, a, b)
    wait_for(lambda: guest.devices[a].state == vfio.STOP_COPY, "the source's device to be saved", 60)
    standin("hardware", 0x12000000)
    assert not migration.wait(90)
    assert rig.where(guest) is a
    assert guest.devices[a].state == vfio.RUNNING
    standin("hardware", 0x92000000)
    assert rig.move(guest, a, b).wait(90)
    assert rig.where(guest) is b
