# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes wrong around apmigd while a lock is held: each trouble has its sentence, no lock is lost, and a release is never
kept from anybody for good.

Bad reloads are tried in test_config.py and test_policy.py, second daemons and crashes in test_crash.py, what a disk without
room or that is read-only does to each call in test_errors.py.
"""
import pytest
import rig
from rig import domain, lasting


@pytest.fixture
def held(daemon, hypervisor, root):
    """The path of a lock that a daemon holds, and its properties."""
    daemon.start()
    lock = root.take("04.*", "AES rotation")
    return lock, lasting(root.lock(lock))


def check_still_held(root, held):
    """As it was, proven anew, and the gate is closed."""
    lock, before = held
    assert root.admit(domain())[0] is False
    assert lasting(root.wait_for_state(lock, "held")) == before
    assert [lock["path"] for lock in root.locks()] == [lock]


# --- what it is told to do ----------------------------------------------------------------------------


@pytest.mark.parametrize("name, content, said", [
    ("policy.d/50-test.json", '{"on-busy": "perhaps"}', '$.on-busy is "perhaps" but must be one of'),
    ("apmigd.conf", "[Libvirt]\nUrl=test:///default\n", "[Libvirt] Url= is an unknown key"),
])
def test_policy_error_at_a_restart_loses_no_lock(held, daemon, root, bus, name, content, said):
    daemon.stop()
    file = daemon.folder / name
    before = file.read_text() if file.exists() else "{}"
    files = {path: (daemon.state / "locks" / path).read_bytes() for path in daemon.lock_files()}
    file.write_text(content)
    daemon.spawn()
    assert daemon.wait() == 1
    assert f"cannot start: {file}: " in daemon.read_log() and said in daemon.read_log()
    assert not bus.has_name()
    assert {path: (daemon.state / "locks" / path).read_bytes() for path in daemon.lock_files()} == files and len(files) == 1
    file.write_text(before)
    daemon.start()
    check_still_held(root, held)
    root.release(held[0])


# --- where it keeps its locks ---------------------------------------------------------------------------


def test_full_disk_keeps_no_lock_and_loses_none(disk, held, daemon, root):
    filler = disk.fill()
    for _ in range(2):
        error = root.start_take("05.*").error()
        assert error.short == "StateFailure" and "No space left on device" in error.message
        check_still_held(root, held)
        daemon.restart()  # still without room
        check_still_held(root, held)
    daemon.kill()
    daemon.start()
    check_still_held(root, held)
    root.release(held[0])
    assert root.locks() == [] and daemon.lock_files() == []
    assert daemon.restart() and root.locks() == []
    filler.unlink()
    assert root.lock(root.take("05.*"))["State"] == "held"


def test_read_only_disk_loses_no_lock(disk, held, daemon, root):
    disk.remount("ro")
    for call in (root.start_take("05.*"), root.start_release(held[0])):
        error = call.error()
        assert error.short == "StateFailure" and "Read-only file system" in error.message
    check_still_held(root, held)
    daemon.restart()  # still read-only
    check_still_held(root, held)
    assert root.start_release(held[0]).error().short == "StateFailure"
    check_still_held(root, held)
    disk.remount("rw")
    root.release(held[0])
    assert root.locks() == [] and daemon.lock_files() == []


# --- whom it speaks with --------------------------------------------------------------------------------


def test_lost_bus_loses_no_lock(held, daemon, bus, root):
    """apmigd goes on, and is there again with the bus."""
    bus.process.kill()
    daemon.wait_for_log("the connection to the bus was lost")
    bus.end()
    bus.begin()
    rig.until(bus.has_name, "the name")
    check_still_held(root, held)
    root.release(held[0])
    assert root.locks() == []
    daemon.stop()
