# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lock files that are not what apmigd wrote: each stands as a lock on everything, until somebody forces its release."""
import json
import os

import pytest
import rig
from rig import MANAGER, ROOT_PATH, domain, until

ID = "0a1b2c3d"


def record(**changes):
    good = {"version": 1, "id": ID, "scope": "04.*", "reason": "AES rotation", "change-id": "", "origin": "request",
            "owner-uid": 0, "owner-name": "root", "on-busy": "", "requested-at": 1700000000000000, "held-at": 0,
            "expected-duration": 0, "breaches": 0}
    return json.dumps({key: value for key, value in {**good, **changes}.items() if value is not ...})


def put(content):
    def damage(folder):
        (folder / f"{ID}.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    return damage


def directory(folder):
    (folder / f"{ID}.json").mkdir()
    (folder / f"{ID}.json" / "inside").write_text("x")


def link(folder):
    target = folder.parent / "elsewhere.json"
    target.write_text(record())
    (folder / f"{ID}.json").symlink_to(target)


def huge(folder):
    with open(folder / f"{ID}.json", "w") as file:
        file.write(record())
        file.truncate(1 << 40)  # a hole, that nobody should try to read


DAMAGES = {
    "empty": put(""),
    "garbage": put(os.urandom(300)),
    "text": put("AES rotation\n"),
    "zeros": put(b"\0" * 512),
    "truncated": put(record()[:-40]),
    "followed by more": put(record() + record()),
    "an array": put("[]"),
    "too deep": put("[" * 100000),
    "newer version": put(record(version=2)),
    "newer version of another form": put('{"version": 7, "lock": {}}'),
    "no version": put(record(version=...)),
    "a key twice": put(record()[:-1] + ', "reason": "other"}'),
    "unknown member": put(record(colour="blue")),
    "missing member": put(record(scope=...)),
    "bad scope": put(record(scope="04.*;")),
    "no queue": put(record(scope="none")),
    "bad type": put(record(reason=5)),
    "control characters": put(record(reason="a\nb")),
    "long reason": put(record(reason="x" * 257)),
    "bad origin": put(record(origin="recovered")),
    "negative time": put(record(**{"held-at": -1})),
    "another's id": put(record(id="ffffffff")),
    "large": put(record() + " " * (16 * 1024 * 1024)),
    "huge": huge,
    "directory": directory,
    "link": link,
    "FIFO": lambda folder: os.mkfifo(folder / f"{ID}.json"),
    "device": lambda folder: os.mknod(folder / f"{ID}.json", 0o020600, os.makedev(1, 5)),  # /dev/zero
    "foreign name": lambda folder: (folder / "README").write_text("not a lock"),
    "name of another form": lambda folder: (folder / "0A1B2C3D.json").write_text(record()),
    "name that is no text": lambda folder: (folder / b"\xff\xfe\n.json".decode(errors="surrogateescape")).write_text(""),
    "lost files": lambda folder: (folder / ".in-use").touch(),
}


@pytest.fixture
def locks_folder(daemon):
    folder = daemon.state / "locks"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_a_lock_until_its_forced_release(daemon, hypervisor, root, locks_folder, damage):
    DAMAGES[damage](locks_folder)
    daemon.start()
    lock = root.locks()
    assert len(lock) == 1
    path = lock[0]["path"]
    assert (lock[0]["scope"], lock[0]["state"], lock[0]["uid"]) == ("all", "recovered", 0)
    shown = root.lock(path)
    assert (shown["Origin"], shown["State"], shown["OwnerUid"]) == ("recovered", "recovered", 0)
    assert shown["Reason"].startswith("recovered from ") and shown["Reason"].isprintable()
    assert "is damaged" in daemon.read_log()
    if damage not in ("foreign name", "name of another form", "name that is no text", "lost files"):
        assert path.endswith(ID)

    allowed, reason = root.admit(domain())
    assert not allowed and path.rpartition("/")[2] in reason
    assert root.admit(domain(), operation="restore")[0] is False
    assert root.start_take("77.0001").error().short == "Locked"
    assert root.admit(domain(scope=None)) == (True, "")  # nothing to do with crypto

    error = root.start_release(path).error()
    assert error.short == "StateFailure" and "--force" in error.message
    assert root.locks() == lock
    assert root.lock(path)["Result"] == ""

    root.release(path, {"force": True})
    assert root.locks() == [] and daemon.lock_files() == []
    assert root.admit(domain()) == (True, "")
    daemon.restart()
    assert root.locks() == []


def test_damage_has_the_same_id_in_every_run(daemon, hypervisor, root, locks_folder):
    """An administrator who wrote it down can still act on it."""
    DAMAGES["foreign name"](locks_folder)
    (locks_folder / "README2").write_text("")
    daemon.start()
    before = sorted(lock["path"] for lock in root.locks())
    assert len(before) == 2
    hypervisor.disconnect()
    daemon.restart()
    assert sorted(lock["path"] for lock in root.locks()) == before


def test_good_locks_beside_damage_stay_what_they_are(daemon, hypervisor, root, locks_folder):
    daemon.start()
    locks = [root.take("04.*"), root.take("05.*")]
    before = {lock["path"]: lock for lock in root.locks()}
    daemon.kill()
    hypervisor.disconnect()
    file = locks_folder / f"{locks[1].rpartition('/')[2]}.json"
    file.write_text(file.read_text()[:-10])
    (locks_folder / "core").write_text("")
    daemon.start()
    root.wait_for_state(locks[0], "held")
    after = {lock["path"]: lock for lock in root.locks()}
    assert len(after) == 3 and after[locks[0]] == before[locks[0]]
    assert after[locks[1]]["state"] == "recovered"  # under the id that its owner knows
    for path, lock in after.items():
        root.release(path, {"force": True} if lock["state"] == "recovered" else None)
    assert daemon.lock_files() == []


def test_damage_that_is_a_folder_is_moved_aside(daemon, hypervisor, root, locks_folder):
    """What somebody put there is not apmigd's to delete."""
    directory(locks_folder)
    daemon.start()
    root.release(root.locks()[0]["path"], {"force": True})
    aside = [path for path in daemon.state.iterdir() if path.name.startswith("removed-")]
    assert len(aside) == 1 and (aside[0] / "inside").read_text() == "x"


def test_link_is_taken_away_and_not_what_it_points_to(daemon, hypervisor, root, locks_folder):
    link(locks_folder)
    daemon.start()
    root.release(root.locks()[0]["path"], {"force": True})
    assert (daemon.state / "elsewhere.json").exists()


def test_lost_locks_are_noticed(daemon, hypervisor, root):
    """All lock files deleted behind apmigd's back: it knows that there was one."""
    daemon.start()
    root.take()
    daemon.kill()
    hypervisor.disconnect()
    for name in daemon.lock_files():
        (daemon.state / "locks" / name).unlink()
    daemon.start()
    lock = root.locks()
    assert [entry["state"] for entry in lock] == ["recovered"]
    assert "lost its lock files" in root.lock(lock[0]["path"])["Reason"]


@pytest.mark.skipif(not rig.has_failpoints(), reason="the build is without -Dfailpoints=true")
def test_left_over_writes_are_no_locks(daemon, hypervisor, root):
    """A write that a crash cut off was never told of."""
    daemon.start(APMIGD_FAILPOINT="lock-written")
    root.start_take().error()
    daemon.wait()
    left_over = daemon.lock_files()
    assert len(left_over) == 1 and not left_over[0].endswith(".json")
    daemon.start()
    assert root.locks() == [] and daemon.lock_files() == []


def test_recovered_lock_shows_for_whom_checks(daemon, hypervisor, root, locks_folder):
    put("x")(locks_folder)
    daemon.start()
    hypervisor.guest("00000000-0000-4000-8000-000000000001", name="g1", affected="yes", scope="77.0077")
    allowed, reason, locks = root.check("g1")
    assert (allowed, locks) == (False, [f"/org/apmigd1/lock/{ID}"])
    assert "recovered" in reason


def test_recovered_lock_is_not_written_over(daemon, hypervisor, root, locks_folder):
    """What is left of the damaged file is evidence, whatever migrates meanwhile."""
    put("evidence")(locks_folder)
    daemon.start()
    path = root.locks()[0]["path"]
    hypervisor.guest("00000000-0000-4000-8000-000000000001", name="g1", affected="yes", job="outgoing", data_processed=1,
                     step_ms=50)
    hypervisor.hint()
    until(lambda: root.lock(path)["Breaches"] == 1, "the breach")
    assert (locks_folder / f"{ID}.json").read_text() == "evidence"
    assert root.start(path, "org.apmigd1.Lock", "Release", "a{sv}", "1", "force", "b", "true").answer() == []
    assert root.call(ROOT_PATH, MANAGER, "ListLocks") == [[]]


def test_state_folder_that_cannot_be_used_keeps_it_from_starting(daemon, hypervisor, bus):
    daemon.state.write_text("a file")
    daemon.spawn()
    assert daemon.wait() == 1
    assert str(daemon.state) in daemon.read_log()
    assert not bus.has_name()
