# SPDX-License-Identifier: LGPL-2.1-or-later
"""A state folder whose disk hangs: everybody is answered meanwhile, with what is not known, and no gate opens; when the disk
answers after all, things are as they would have been."""
import time

import pytest
import rig
from rig import domain, until, uuid_of

pytestmark = pytest.mark.skipif(not rig.has_failpoints(), reason="the build is without -Dfailpoints=true")

TIMEOUT = 2  # seconds that a lock is waited for
DISK_LIMIT = 20  # seconds that anybody waits for the disk who has given no deadline


class HangingDisk:
    def __init__(self, daemon):
        self.daemon = daemon
        self.end = daemon.folder / "disk-answers"

    def start(self, point):
        """The daemon, which hangs at the point from now on."""
        self.end.unlink(missing_ok=True)
        return self.daemon.start(APMIGD_FAILPOINT=f"hang:{point}", APMIGD_FAILPOINT_END=str(self.end))

    def answer(self):
        self.end.touch()


@pytest.fixture
def hanging(daemon):
    hanging = HangingDisk(daemon)
    yield hanging
    hanging.answer()  # the daemon is to end in order


def check_gate_is_shut(root, path):
    """But for guests of other queues."""
    assert [(lock["path"], lock["state"]) for lock in root.locks()] == [(path, "verifying")]
    allowed, reason = root.admit(domain())
    assert not allowed and path.split("/")[-1] in reason
    assert root.admit(domain("g2", uuid_of(2), scope="05.0001"), guest="g2") == (True, "")


@pytest.mark.parametrize("point", ["lock-before-write", "file-opened", "file-written", "lock-written", "lock-renamed"])
def test_take(hanging, hypervisor, root, daemon, point):
    hanging.start(point)
    begin = time.monotonic()
    error = root.start_take("04.*", options={"timeout-usec": TIMEOUT * 1000000}).error()
    assert time.monotonic() - begin < TIMEOUT + rig.LIMIT / 4
    path = root.locks()[0]["path"]
    assert error.short == "StateFailure"
    assert f"whether lock {path.split('/')[-1]} is on the disk is not known" in error.message
    check_gate_is_shut(root, path)
    again = root.start_take("04.*").error()
    assert again.short == "Locked"
    hanging.answer()
    until(lambda: root.locks() == [] and daemon.lock_files() == [], "the lock to be taken back")
    assert root.lock(root.take("04.*"))["State"] == "held"


def test_read_at_start(hanging, hypervisor, root, daemon, ctl):
    """It starts all the same, and says that it does not know."""
    daemon.start()
    lock = root.take("04.*")
    daemon.stop()
    hanging.start("state-before-read")
    daemon.wait_for_log("have not been read yet")
    for call in (root.start_take("05.*"), root.start_release(lock), root.start_declare({"04.0012 AES": "0x0123456789abcdef"}),
                 root.start(rig.ROOT_PATH, rig.MANAGER, "ListLocks")):
        error = call.error()
        assert error.short == "StateFailure" and "ead" in error.message
    assert root.admit(domain("g2", uuid_of(2), scope="05.0001"), guest="g2") == \
        (False, "apmigd has not read its locks yet: try again")
    assert root.admit(domain("g3", uuid_of(3), scope=None), guest="g3") == (True, "")
    assert root.manager()["Locked"] is True
    status, out, _ = ctl("status", "--check")
    assert status == 2 and "have not been read" in out
    hanging.answer()
    until(lambda: "what is on disk has been read" in daemon.read_log(), "the disk to answer")
    assert root.wait_for_state(lock, "held")
    assert root.admit(domain("g2", uuid_of(2), scope="05.0001"), guest="g2") == (True, "")
    root.release(lock)
    assert root.manager()["Locked"] is False


def test_take_without_waiting(hanging, hypervisor, root, daemon):
    """Its answer is that the lock is durable, and comes in time as well."""
    hanging.start("file-written")
    error = root.start_take("04.*", options={"no-wait": True, "timeout-usec": TIMEOUT * 1000000}).error()
    assert error.short == "StateFailure" and "is not known" in error.message
    hanging.answer()
    until(lambda: root.locks() == [] and daemon.lock_files() == [], "the lock to be taken back")


def test_release_and_declaration(hanging, hypervisor, root, daemon):
    daemon.add_queue("04.0012")
    daemon.start()
    lock = root.take("04.*")
    daemon.stop()
    hanging.start("lock-before-remove")
    root.wait_for_state(lock, "held")
    releasing = root.start_release(lock, {"force": True})
    root.wait_for_state(lock, "verifying")
    declaring = root.start_declare({"04.0012 AES": "0x0123456789abcdef"})
    check_gate_is_shut(root, lock)
    error = releasing.error(limit=DISK_LIMIT + rig.LIMIT)
    assert error.short == "StateFailure" and "is removed from the disk is not known" in error.message
    check_gate_is_shut(root, lock)
    error = declaring.error(limit=DISK_LIMIT + rig.LIMIT)
    assert error.short == "StateFailure" and "whether what was declared is on the disk is not known" in error.message
    assert root.start_release(lock).error().short == "StateFailure"  # at once
    hanging.answer()
    until(lambda: root.locks() == [] and daemon.lock_files() == [], "the lock to be gone")
    daemon.wait_for_log(f"lock {lock.split('/')[-1]} ended: released")
    daemon.wait_for_log("to have the pattern 0x0123456789abcdef")
    assert root.admit(domain()) == (True, "")
