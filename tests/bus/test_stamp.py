# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stamps over the bus: what follows from the one that a guest brings, and those that are written, with libvirt's test
driver. That lives inside of apmigd, so what it has is known by what can be taken away."""
import re
import time

import pytest
import rig
from rig import MANAGER, ROOT_PATH, SOURCE, domain, until, uuid_of

SAMPLES = SOURCE / "tests" / "data" / "stamp"
WRITTEN_AT = "1800000000000000"
DEVICE = "a1b2c3d4-f1bb-47f0-914d-000000000101"


def sample(name, age=60):
    """A domain XML with a stamp, written @age seconds ago."""
    text = (SAMPLES / f"{name}.xml").read_text()
    return text.replace(WRITTEN_AT, str(int((time.time() - age) * 1000000)))


def entries(daemon, name):
    return "\n".join(line for line in daemon.read_log().splitlines() if name in line)


@pytest.fixture
def fitting(daemon, hypervisor):
    """The host has what the samples have at their source."""
    daemon.add_queue("04.0012")
    daemon.add_device(DEVICE, ["04.0012"])
    return daemon.start()


# --- what a guest brings ------------------------------------------------------------------------------


def test_lock_at_the_source(running, root):
    allowed, reason = root.admit(sample("good-locked"))
    assert not allowed
    for part in ("locked at the source", "0123456f", "of anna", '"AES rotation"', "apmigctl unlock 0123456f"):
        assert part in reason
    named = sample("good-locked").replace(' form="full"', ' form="full" host-name="zhost1"')
    assert "host zhost1 (11111111-1111-4111-8111-111111111111): lock 0123456f" in root.admit(named)[1]
    assert root.migrations() == [] and running.admission_files() == []
    assert "ADMISSION_DENIED" in running.read_log()


def test_lock_at_the_source_has_no_age(running, root):
    assert root.admit(sample("good-locked", age=1000 * 86400))[0] is False
    assert root.admit(sample("good-lock-alone"))[0] is False


def test_lock_of_a_host_with_the_same_id(running, root):
    """As clones of a disk have it: where the machine tells nothing of itself, their stamps look like our own."""
    manager = root.manager()
    assert manager["HostIdBasis"] == "machine-id" and manager["StampTrouble"] == ""
    cloned = re.sub(' host="[^"]*"', f' host="{manager["HostId"]}"', sample("good-locked"))
    allowed, reason = root.admit(cloned)
    assert not allowed
    assert "locked at the source" in reason and "This host has the same id" in reason
    trouble = root.manager()["StampTrouble"]
    assert manager["HostId"] in trouble and "lock 0123456f" in trouble


def test_clone_on_another_machine(running, daemon, root):
    """It has an id of its own, and the same one after a restart."""
    ids = [root.manager()["HostId"]]
    for uuid in (DEVICE, DEVICE, uuid_of(7)):
        running.stop()
        (running.sysfs / "class/dmi/id").mkdir(parents=True, exist_ok=True)
        (running.sysfs / "class/dmi/id/product_uuid").write_text(f"{uuid}\n")
        running.start()
        manager = root.manager()
        assert manager["HostIdBasis"] == "hardware"
        ids.append(manager["HostId"])
    assert ids[1] == ids[2] and len(set(ids)) == 3


def test_a_guest_that_is_restored_is_not_locked_any_more(running, root):
    assert root.start_admit(sample("good-locked"), operation="restore").answer()[0] is True


@pytest.mark.parametrize("name, doubt", [
    ("good-full", "is not known: 04.0012"),
    ("good-detached", "is not known: 04.0012"),
    ("good-digest", "is not known: all"),
    ("bad-twice", "does not read: there is more than one"),
    ("bad-pattern", "does not read: <key> has no cur"),
    ("bad-control-characters", "does not read: <lock> has no reason"),
])
def test_doubts_are_in_the_journal(fitting, root, name, doubt):
    assert root.admit(sample(name)) == (True, "")
    assert doubt in entries(fitting, "ADMISSION_DOUBTFUL")


@pytest.mark.parametrize("policy, name", [
    (dict(keys_unknown="deny"), "good-full"),
    (dict(stamp_missing="deny"), "bad-empty"),
    (dict(stamp_missing="deny", stamp_fresh_sec=30), "good-full"),
])
def test_policy_may_be_strict(daemon, hypervisor, root, policy, name):
    daemon.policy(**policy)
    daemon.start()
    assert root.admit(sample(name))[0] is False
    assert root.admit(domain(scope=None)) == (True, "")  # has nothing to do with crypto


def test_queues_of_the_stamp(fitting, root):
    """They are what a guest with a device has; without a stamp that counts it may have any."""
    root.take("05.*")
    assert root.admit(sample("good-full", age=91 * 86400))[0] is False
    assert root.admit(sample("bad-empty"))[0] is False
    assert root.admit(sample("good-full")) == (True, "")
    root.take("04.*", options={"no-wait": True})
    assert root.admit(sample("good-full"))[0] is False
    assert root.admit(sample("good-detached"))[0] is False


def test_hardware_that_it_does_not_fit(running, root):
    """As it is now, which nobody has asked for before."""
    allowed, reason = root.admit(sample("good-full"))
    assert not allowed
    assert "AP bus: source present, destination absent" in reason
    running.add_queue("04.0012")
    running.add_device(DEVICE, ["04.0012"])
    until(lambda: root.admit(sample("good-full"))[0], "a reading that is not so old")


# --- what is written ----------------------------------------------------------------------------------

GUESTS = {"keys": domain("keys", uuid_of(1), "04.0012"), "plain": domain("plain", uuid_of(2), None),
          "device": domain("device", uuid_of(3), None, DEVICE)}


@pytest.fixture
def node(bus, folder):
    """All connections to the driver's default host have the same guests, which are made as the daemon starts."""
    (folder / "guests").mkdir()
    for name, xml in GUESTS.items():
        (folder / "guests" / f"{name}.xml").write_text(xml.replace("type='kvm'", "type='test'"))
    daemon = rig.Daemon(bus, folder, rig.APMIGD_SCRIPTED, "test:///default")
    daemon.environment["APMIGD_TEST_GUESTS"] = str(folder / "guests")
    yield daemon
    daemon.close()
    print(daemon.read_log())


def start(daemon):
    daemon.start()
    until(lambda: "connected to" in daemon.read_log(), "libvirt")


def unstamp(root, guest=""):
    """How many had one."""
    return root.start(ROOT_PATH, MANAGER, "RemoveStamps", "s", guest).answer()[0]


def test_guests_under_a_lock_are_stamped(node, root):
    start(node)
    node.add_device(DEVICE, ["05.0012"])
    assert unstamp(root) == 0
    lock = root.take("04.*")
    until(lambda: unstamp(root, "keys") == 1, "the stamp of a guest under the lock")
    assert unstamp(root, "device") == unstamp(root, "plain") == 0
    root.release(lock)
    until(lambda: unstamp(root, uuid_of(1)) == 1, "its stamp without the lock")
    assert unstamp(root) == 0

    root.release(root.take())
    until(lambda: unstamp(root, "device") == 1, "the stamp of a guest with a device")
    until(lambda: unstamp(root) >= 1, "and the other's")  # a slow release has them written twice


def test_every_affected_guest_is_stamped_once_libvirt_is_there(node, root):
    start(node)
    until(lambda: unstamp(root, "keys") == 1, "its stamp", 20)
    until(lambda: unstamp(root, "device") == 1, "its stamp")
    assert unstamp(root, "plain") == 0


def test_cards_are_asked_before_a_stamp_is_written(node, root):
    """Nobody else asks them here; that it was done shows in the serial numbers, which are of the same reading."""
    node.copy_sysfs()
    node.end_strangers()
    start(node)
    root.take()
    until(lambda: unstamp(root, "keys") == 1, "its stamp")
    assert root.queues()["02.0004"]["serial"] == "93AAB1C2"


def test_off(node, root):
    node.policy(stamp="off")
    start(node)
    root.release(root.take())
    time.sleep(1)
    assert unstamp(root) == 0


def test_unstamp(node, root, bus):
    def ctl(*arguments):
        process = bus.start(rig.APMIGCTL, "unstamp", *arguments)
        out, err = process.communicate(timeout=rig.LIMIT)
        return process.returncode, out, err

    start(node)
    assert ctl("keys") == (0, "0 stamps taken away\n", "")
    assert ctl("--all") == (0, "0 stamps taken away\n", "")
    status, _, err = ctl("nobody")
    assert status != 0 and "knows no guest 'nobody'" in err
    for wrong in ((), ("--all", "keys"), ("",)):
        assert ctl(*wrong)[0] == 2
