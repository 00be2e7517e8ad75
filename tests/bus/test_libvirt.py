# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon with a real libvirt: its test driver, which has guests, but neither jobs nor hooks. It lives in the process that
uses it, so what apmigd-act does is done there, too: apmigd-scripted can."""
import signal

import pytest
import rig
from rig import domain, lasting, until, uuid_of

DEFAULT_GUEST = "6695eb01-f6a4-8304-79aa-97f2502e193f"  # "test" of test:///default
DEVICE = "a1b2c3d4-f1bb-47f0-914d-000000000101"

NODE = f"""<node>
  {domain("keys", uuid_of(1), "04.0012").replace("type='kvm'", "type='test'")}
  {domain("plain", uuid_of(2), None).replace("type='kvm'", "type='test'")}
  {domain("device", uuid_of(3), None, DEVICE).replace("type='kvm'", "type='test'")}
</node>"""


def libvirt_daemon(bus, folder, uri):
    daemon = rig.Daemon(bus, folder, rig.APMIGD_SCRIPTED, uri)
    daemon.start()
    until(lambda: "connected to" in daemon.read_log(), "libvirt")
    return daemon


@pytest.fixture
def default(bus, folder):
    daemon = libvirt_daemon(bus, folder, "test:///default")
    yield daemon
    daemon.close()
    print(daemon.read_log())


@pytest.fixture
def node(bus, folder):
    """With a guest that declares keys, one without, and one with a device."""
    (folder / "node.xml").write_text(NODE)
    daemon = libvirt_daemon(bus, folder, f"test://{folder}/node.xml")
    yield daemon
    daemon.close()
    print(daemon.read_log())


def test_lock_is_held_and_released(default, root):
    """A guest without job information has no job; and no driver but QEMU's has the hook."""
    lock = root.take()
    assert root.lock(lock)["State"] == "held"
    assert root.manager()["HypervisorState"] == "complete"
    root.release(lock)
    assert root.manager()["HypervisorState"] == "connected"
    assert root.locks() == [] and default.lock_files() == []


def test_socket_that_is_closed_by_its_reader(default, root):
    """As libvirtd's, when that ends while something is written to it."""
    default.process.send_signal(signal.SIGPIPE)
    root.release(root.take())
    assert default.process.poll() is None


def test_lock_outlives_a_crash(default, root):
    lock = root.take("04.*")
    before = lasting(root.lock(lock))
    default.kill()
    default.start()
    assert lasting(root.wait_for_state(lock, "held")) == before


def test_guests_are_found_by_name_and_uuid(default, root):
    root.take()
    assert root.check("test") == root.check(DEFAULT_GUEST) == (True, "", [])
    for guest in ("tes", uuid_of(9), "test "):
        error = root.start(rig.ROOT_PATH, rig.MANAGER, "CheckGuest", "s", guest).error()
        assert error.short == "NoSuchGuest" and guest.strip() in error.message


def test_affected_guests_are_told_from_others(node, root):
    lock = root.take("05.*")
    assert root.check("keys") == (True, "", [])
    assert root.check("plain") == (True, "", [])
    assert root.check("device")[::2] == (False, [lock])  # its queues cannot be read: all
    second = root.take("04.0010-001f")
    assert root.check("keys")[::2] == (False, [second])
    assert root.check("device")[::2] == (False, [lock, second])
    assert root.check("plain") == (True, "", [])
    assert {entry["state"] for entry in root.locks()} == {"held"}


def test_active_guest_has_the_queues_of_its_device(node, root):
    """As they are at the moment. One that comes in has those of its source, whatever the device has here."""
    node.add_device(DEVICE, ["04.0012", "04.0013"])
    lock = root.take("05.*")
    assert root.lock(lock)["State"] == "held"
    assert root.check("device") == (True, "", [])
    second = root.take("04.0013")
    assert root.check("device")[::2] == (False, [second])
    node.add_device(DEVICE, ["05.0012"])
    assert root.check("device")[::2] == (False, [lock])
    node.add_device(DEVICE, [])
    assert root.check("device") == (True, "", [])
    assert root.admit(domain("device", uuid_of(3), None, DEVICE), "device")[0] is False
    assert root.admit(domain("g1", uuid_of(4), None, DEVICE))[0] is False


def test_guests_are_listed_with_their_queues(node, root):
    node.add_device(DEVICE, ["04.0013", "05.0013"])
    lock = root.take("05.*")

    def listed(scope):
        guests = root.call(rig.ROOT_PATH, rig.MANAGER, "ListGuests", "sa{sv}", scope, "0")[0]
        return {guest["name"]: (guest["scope"], guest["devices"], guest["locks"]) for guest in guests}

    keys, device = ("04.0012", [], []), ("04-05.0013", [DEVICE], [lock])
    assert listed("all") == {"keys": keys, "device": device}
    assert listed("04.0012") == {"keys": keys}
    verdict = root.call(lock, rig.LOCK, "Check", "a{sv}", "0")[0]
    assert verdict["ready"] is True and verdict["read-at"] > 1_700_000_000_000_000


def test_unreachable_libvirt_is_said(bus, folder, root):
    daemon = rig.Daemon(bus, folder, rig.APMIGD_SCRIPTED, f"test://{folder}/no-such-file.xml").start()
    assert root.manager()["HypervisorState"] == "disconnected"
    error = root.start_take(options={"timeout-usec": 200000}).error()
    assert error.short == "HypervisorUnavailable" and "no-such-file.xml" in error.message
    assert root.locks() == [] and daemon.lock_files() == []
    assert root.admit(domain()) == (True, "")  # which refuses no guest while nobody holds a lock
    lock = root.take("05.*", options={"no-wait": True})
    assert root.admit(domain(scope="05.0001"))[0] is False
    (folder / "no-such-file.xml").write_text(NODE)
    root.wait_for_state(lock, "held")  # it tries again by itself
    daemon.close()
