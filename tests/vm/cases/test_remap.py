# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mediated devices of another UUID: `virsh migrate` without --xml, and the destination's hook names the device there."""

import signal
import time

import pytest
from checks import KEYS
from devices import STANDIN
from fencing import assert_runs_at
from host import wait_for

import vfio

STAMP = "urn:apmigd:stamp:1"
DEVICES = "/sys/bus/mdev/devices"
POLICY = '{"stamp": "full", "remap-devices": "matching"}'
OR_EMPTY = '{"stamp": "full", "remap-devices": "matching-or-empty"}'


@pytest.fixture
def policy():
    """A case may have it as a parameter."""
    return POLICY


@pytest.fixture(autouse=True)
def remapping(rig, policy):
    """Both hosts tell in stamps what guests have, and choose devices by that."""
    for host in rig.hosts:
        reloads = host.apmigd_log().count("policy reloaded")
        host.set_policy(policy)
        host.apmigd.send(signal.SIGHUP)
        wait_for(lambda host=host, reloads=reloads: host.apmigd_log().count("policy reloaded") > reloads,
                 f"the policy of {host.name} to be read")


@pytest.fixture
def show(rig):
    """Has a host see the devices that it is shown alone: there is one kernel here, and each host knows all otherwise."""
    blinded = []

    def show_device(host, device):
        if host not in blinded:
            host.run("mount", "-t", "tmpfs", "-o", "mode=0755", "devices", DEVICES)
            blinded.append(host)
        host.run("ln", "-s", device.path.resolve(), f"{DEVICES}/{device.uuid}")

    yield show_device
    for host in blinded:
        host.run("umount", "-l", DEVICES)


def start(rig, host, name="g1", **options):
    """A guest that runs on @host, of which its stamp tells what it has."""
    guest = rig.start_device_guest(name, host, STANDIN, scope=KEYS, **options)
    wait_stamp(guest, host)
    return guest


def wait_stamp(guest, host):
    wait_for(lambda: guest.devices[host].uuid in host.metadata(guest.name, STAMP),
             f"the stamp of {guest} on {host.name} to name its device there", 60)


def device_on(guest, host):
    """The one that @guest is to have on @host, with what it has where it is. It is made there."""
    guest.xml_for(host)
    return guest.devices[host]


def test_there_and_back(rig, a, b, show):
    guest = start(rig, a)
    show(a, guest.devices[a])
    show(b, device_on(guest, b))
    for source, destination in ((a, b), (b, a)):
        wait_stamp(guest, source)
        migration = rig.migrate(guest, source, destination)
        assert migration.wait(90), migration.message
        assert_runs_at(rig, guest, destination, source)
        assert f"<address uuid='{guest.devices[destination].uuid}'/>" in destination.virsh("dumpxml", guest.name).stdout


def test_no_match(rig, a, b, show):
    """Said before any memory is sent; and once the device there is mended, the guest moves."""
    guest = start(rig, a)
    device = device_on(guest, b)
    device.write("assign_domain", 0x13)
    show(b, device)
    migration, sent = rig.migrate(guest, a, b), []
    while not migration.ended:
        sent.append(a.memory_sent(guest.name))
        time.sleep(0.05)
    assert not migration.wait(90)
    assert f"Mediated device {guest.devices[a].uuid} is not on this host" in migration.message
    assert f"{device.uuid} has besides AP queues 04.0013" in migration.message
    assert not any(sent)
    assert_runs_at(rig, guest, a, b)
    device.write("unassign_domain", 0x13)
    again = rig.migrate(guest, a, b)
    assert again.wait(90), again.message
    assert_runs_at(rig, guest, b, a)


def assert_refused(rig, guest, source, destination, device):
    refused = rig.migrate(guest, source, destination)
    assert not refused.wait(90)
    assert f"{device.uuid} matches, but another guest has it" in refused.message


@pytest.mark.thorough
def test_one_device_for_two_guests(rig, a, b, show):
    """The second one is not let in while the first one comes in, nor when that has arrived."""
    first, second = start(rig, a), start(rig, a, "g2")
    device = device_on(first, b)
    show(b, device)
    migration = rig.migrate(first, a, b, bandwidth=1)
    rig.wait_migrating(first, a)
    assert_refused(rig, second, a, b, device)
    rig.finish_migration(first, a)
    assert migration.wait(90), migration.message
    assert_refused(rig, second, a, b, device)
    assert_runs_at(rig, first, b, a)
    assert rig.where(second) is a


def fail_after_the_load(rig, guest, source, destination, device):
    """Whoever drives the migration dies between its phases."""
    migration = rig.migrate(guest, source, destination, bandwidth=1, direct=True)
    rig.wait_migrating(guest, source)
    source.kill(migration.process.pid, signal.SIGSTOP)
    rig.finish_migration(guest, source)
    wait_for(lambda: vfio.look_at_qemu(device.uuid) == (vfio.RESUMING, False), "the load to end", 60)
    source.kill(migration.process.pid, signal.SIGKILL)
    wait_for(lambda: guest.name not in destination.guests(), "the guest to be gone from its destination", 60)
    source.virsh("resume", guest.name)


@pytest.mark.thorough
@pytest.mark.parametrize("policy", [OR_EMPTY], ids=["or-empty"])
def test_device_that_a_failed_load_has_filled(rig, a, b, show):
    """Empty when its guest was let in. What that brought stays in it; it is told, and the device not offered as empty."""
    guest, other = start(rig, a), start(rig, a, "g2", queues=((4, 0x13),))
    device = device_on(guest, b)
    device.write("unassign_domain", 0x12)
    device.write("unassign_adapter", 4)
    show(b, device)
    fail_after_the_load(rig, guest, a, b, device)
    assert device.read("matrix") == "04.0012\n"
    wait_for(lambda: f"Mediated device {device.uuid} has kept what guest g1 brought" in b.apmigd_log(), "that to be told", 60)
    refused = rig.migrate(other, a, b)
    assert not refused.wait(90)
    assert f"{device.uuid} lacks AP queues 04.0013, has besides AP queues 04.0012" in refused.message
    device.write("unassign_domain", 0x12)
    device.write("unassign_adapter", 4)
    again = rig.migrate(other, a, b)
    assert again.wait(90), again.message
    assert device.read("matrix") == "04.0013\n"
