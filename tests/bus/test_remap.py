# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mediated devices of another UUID: what the hook makes of the guest's XML, and what is said where none will do. And what
is read of this host for that, while the guest waits."""
import json
import os
import signal
import xml.etree.ElementTree as ET

import pytest
from rig import LIMIT, until, uuid_of
from test_hook import Host
from test_stamp import DEVICE, sample

GUEST = "c7a5fdbd-edaf-9455-926a-d65c16db1809"  # of the samples
HERE, THERE = "bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
MARKS = "<title>ü &lt;&amp;&gt;</title><!-- as it was --><on_crash>restart</on_crash>"


def guest(number=0, name="good-full"):
    """The guest of a sample, or another one that is like it, with more than apmigd is told of."""
    text = sample(name).replace("</uuid>", f"</uuid>{MARKS}", 1)
    return text.replace(GUEST, uuid_of(number)) if number else text


@pytest.fixture
def host(daemon, hypervisor):
    """It has the queue of the samples, and the device HERE has it. The policy is yet to be chosen."""
    daemon.add_queue("04.0012")
    daemon.add_device(HERE, ["04.0012"])
    return daemon


@pytest.fixture
def remapping(host):
    host.policy(remap_devices="matching")
    return host.start()


@pytest.fixture
def hook(tmp_path, bus):
    hook = Host(tmp_path)
    hook.address = bus.address
    hook.configure("[Hook]\nTimeout=20\n")
    return hook


def admit(root, *arguments, **options):
    """(allowed, reason, device map)"""
    return tuple(root.start_admit(*arguments, **options).answer())


def assert_denied(root, xml, *texts):
    allowed, reason, device_map = admit(root, xml)
    assert (allowed, device_map) == (False, {})
    for text in texts:
        assert text in reason


# --- the hook ---------------------------------------------------------------------------------------


def test_another_device(remapping, root, hook):
    xml = guest()
    status, out, err = hook.run_with_output("migrate", xml.encode(), limit=LIMIT)
    assert (status, err) == (0, "")
    assert ET.canonicalize(out, with_comments=True) == ET.canonicalize(xml.replace(DEVICE, HERE), with_comments=True)
    assert DEVICE.encode() not in out and b"as it was" in out
    record = json.loads((remapping.runtime / "admissions" / f"{GUEST}.json").read_text())
    assert record["devices"] == [HERE]
    assert root.migration(root.migrations()[0]["path"])["Devices"] == [HERE]
    assert f"with mediated device {HERE} in the place of {DEVICE}" in remapping.read_log()


def test_device_that_is_here(remapping, hook):
    remapping.add_device(HERE, [])
    remapping.add_device(DEVICE, ["04.0012"])
    assert hook.run("migrate", guest().encode(), limit=LIMIT) == (0, "")


def test_denied_with_the_list(remapping, hook):
    remapping.add_queue("04.0013")
    remapping.add_device(HERE, ["04.0013"])
    remapping.add_device(THERE, [])
    status, err = hook.run("migrate", guest().encode(), limit=LIMIT)
    assert status == 1 and err.count("\n") == 1
    assert f"Mediated device {DEVICE} is not on this host" in err
    assert f"{HERE} lacks AP queues 04.0012, has besides AP queues 04.0013" in err
    assert f"{THERE} lacks AP queues 04.0012" in err
    assert "mdevctl" in err


def test_off(host, hook):
    host.start()
    status, err = hook.run("migrate", guest().encode(), limit=LIMIT)
    assert status == 1 and f"source {DEVICE}, destination none of that UUID" in err


def test_restore(remapping, hook, root):
    assert hook.run("restore", guest().encode(), limit=LIMIT) == (0, "")
    assert admit(root, guest(), operation="restore") == (True, "", {})


# --- which device -----------------------------------------------------------------------------------


def test_each_device_once(remapping, hypervisor, root):
    assert admit(root, guest()) == (True, "", {DEVICE: HERE})
    assert admit(root, guest()) == (True, "", {DEVICE: HERE})  # it asks again
    assert_denied(root, guest(1), f"{HERE} matches, but another guest has it, or is promised it")
    assert len(remapping.admission_files()) == 1
    remapping.kill()
    hypervisor.disconnect()
    remapping.start()
    assert_denied(root, guest(1), f"{HERE} matches, but another guest has it")
    assert admit(root, guest()) == (True, "", {DEVICE: HERE})


def test_device_of_an_active_guest(remapping, hypervisor, root):
    hypervisor.guest(uuid_of(2), name="g2", affected="yes", scope="04.0012", devices=[HERE])
    assert_denied(root, guest(), f"{HERE} matches, but another guest has it")
    hypervisor.do("remove", uuid=uuid_of(2))
    assert admit(root, guest()) == (True, "", {DEVICE: HERE})


def test_device_of_a_guest_that_libvirt_does_not_know(remapping, root):
    remapping.add_queue("04.0012", status="in use")
    assert_denied(root, guest(), f"{HERE} matches, but another guest has it")


def test_libvirt_that_does_not_tell(remapping, hypervisor, root):
    """The kernel says that no guest has the queue; where it does not, nobody does."""
    hypervisor.do("defaults", list_ms=-1)
    assert admit(root, guest()) == (True, "", {DEVICE: HERE})
    remapping.add_queue("04.0012", status="?")
    assert_denied(root, guest(1), f"{HERE} matches, but another guest has it")
    remapping.add_device(HERE, [])
    remapping.add_device(THERE, ["04.0012"])
    assert_denied(root, guest(1), f"{THERE} matches, but libvirt has not told in time")


def test_empty_device(host, root):
    host.policy(remap_devices="matching-or-empty")
    host.add_device(HERE, [])
    (host.sysfs / "bus/mdev/devices" / HERE / "control_domains").write_text("")
    host.start()
    assert admit(root, guest()) == (True, "", {DEVICE: HERE})


def test_hardware_of_the_chosen_one(remapping, root):
    """The rules of the kernel hold for it as for the guest's own."""
    (remapping.sysfs / "bus/ap/devices/card04/raw_hwtype").write_text("13\n")
    assert_denied(root, guest(), "AP type: source 14, destination 13")


def test_without_a_stamp_that_counts(remapping, root):
    assert_denied(root, guest(name="bad-empty"), "without a stamp that counts")
    remapping.add_device(DEVICE, [])
    assert admit(root, guest(name="bad-empty")) == (True, "", {})


# --- what is read while the guest waits ---------------------------------------------------------------


@pytest.fixture
def hanging(host):
    """A file of sysfs that cannot be read, as while the kernel resets queues."""
    path = host.sysfs / "bus/ap/apmask"
    path.unlink()
    os.mkfifo(path)
    yield host
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # lets go whoever waits for it


def test_sysfs_that_hangs(hanging, root):
    """Nobody waits for it but the guests, and these not long."""
    hanging.policy(remap_devices="matching")
    hanging.start()
    admitting = root.start_admit(guest())
    assert root.manager()["Locked"] is False
    allowed, reason, _ = admitting.answer()
    assert not allowed and "was not read in time" in reason
    hanging.policy(remap_devices="off")
    hanging.reload()
    assert admit(root, guest()) == (True, "", {})  # whether the hardware fits was not looked at


def read_until_sent(call):
    while "member=AdmitMigration" not in (line := call.process.stderr.readline()):
        assert line, "busctl has ended"


def test_one_reading_for_all(remapping, hypervisor, root):
    hypervisor.do("calls", clear=True)
    remapping.process.send_signal(signal.SIGSTOP)
    calls = [root.start_admit(guest(number)) for number in (1, 2, 3)]
    try:
        for call in calls:
            read_until_sent(call)
    finally:
        remapping.process.send_signal(signal.SIGCONT)
    assert sorted(call.answer()[0] for call in calls) == [False, False, True]
    assert len(hypervisor.calls("devices")) < 3


def begin(root, hypervisor, xml):
    """An admission for which libvirt is being asked."""
    hypervisor.do("defaults", list_ms=-1)
    call = root.start_admit(xml)
    until(lambda: hypervisor.calls("devices"), "the question")
    return call


def test_lock_taken_meanwhile(remapping, hypervisor, root):
    call = begin(root, hypervisor, guest())
    lock = root.take("04.*", options={"no-wait": True})
    allowed, reason, _ = call.answer()
    assert not allowed and lock.rpartition("/")[2] in reason
    assert root.migrations() == [] and remapping.admission_files() == []


def test_caller_that_vanishes_meanwhile(remapping, hypervisor, root):
    begin(root, hypervisor, guest()).kill()
    assert admit(root, guest(1)) == (True, "", {DEVICE: HERE})
    assert [migration["uuid"] for migration in root.migrations()] == [uuid_of(1)]


def test_no_wait_for_what_is_not_needed(hanging, hypervisor, root):
    """Without a stamp there is nothing to compare. What the keys of a guest without a device need is read for the next."""
    hanging.start()
    assert admit(root, guest(name="bad-empty")) == (True, "", {})
    assert admit(root, sample("good-detached")) == (True, "", {})
    assert hypervisor.calls("devices") == []
