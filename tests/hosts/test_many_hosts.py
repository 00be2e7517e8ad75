# SPDX-License-Identifier: LGPL-2.1-or-later
"""One lock for three hosts, from one desk, over a real ssh: what comes of it when a host is not there, is somebody else's, or
cannot be drained; when the console dies, or is not the only one; and when keys are not in step."""

import json
import os
import signal
from pathlib import Path

import pytest
import ssh
from checks import REASON, assert_aborted, assert_at_rest, assert_refused_by, assert_unlocked, only_lock, take_held
from fake_ap_tree import AES, FakeApTree
from host import wait_for
from rig import Rig

NAMES = ("host-a", "host-b", "host-c")
TREE = "/run/fake-ap-tree"
QUEUE = "04.0012"
NEW_AES = "00000000000000b2"
CHANGE = "CHG0042"
POLICY = {"stamp": "off", "watch-keys-usec": 500000, "evidence-interval-usec": 1000000}

GO, LOCKED, BUSY_OR_LATE, DIFFER, UNREACHABLE, NO_GO, GO_EXCEPT = 0, 5, 7, 11, 13, 33, 34


@pytest.fixture(scope="module")
def three():
    with Rig(NAMES, install=Path(os.environ["APMIGD_INSTALL"])) as rig:
        yield rig


@pytest.fixture
def fleet(three, request):
    """Three hosts with the same keys, and the first of them a desk from which root reaches all."""
    request.node.rig = three
    trees = [FakeApTree(host.path(TREE)) for host in three.hosts]
    for host in three.hosts:
        host.set_policy(json.dumps(POLICY))
        host.stop_apmigd()
        host.start_apmigd(arguments=("--sysfs-root", TREE), wait=False)
    for host in three.hosts:
        host.wait_apmigd()
    three.trees, three.servers = trees, ssh.connect(three.hosts[0], three.hosts)
    yield three
    three.clean()
    for tree in trees:
        tree.remove()


def command(*argv):
    return ["apmigctl", "--hosts", ",".join(NAMES), *argv]


def lock_command(*options, change=CHANGE):
    return command("lock", "--json=short", "--change-id", change, *options, QUEUE, REASON)


def ask(fleet, *argv):
    """Returns the exit status, and what is said in JSON."""
    result = fleet.hosts[0].run(*argv, check=False, timeout=120)
    return result.returncode, json.loads(result.stdout or "{}"), result.stderr


def lock(fleet, *options, **more):
    return ask(fleet, *lock_command(*options, **more))


def by_host(said):
    return {host["Host"]: host for host in said["Hosts"]}


def lock_ids(fleet):
    return [only_lock(host) for host in fleet.hosts]


def change_key(tree):
    tree.load(QUEUE, "AES", NEW_AES)
    tree.set(QUEUE, "AES")


def test_go(fleet):
    """A migration under way is ended for it; then none gets through, whatever two hosts it is between; and the release waits
    for keys that are in step."""
    a, b, c = fleet.hosts
    guest = fleet.start_guest("g1", a, scope=QUEUE)
    migration = fleet.migrate(guest, a, b, bandwidth=1)
    fleet.wait_migrating(guest, a)
    status, said, _ = lock(fleet)
    assert (status, said["Verdict"]) == (GO, "GO")
    assert [host["State"] for host in said["Hosts"]] == ["held"] * 3
    assert_aborted(migration)
    for host, lock_id in zip((b, c), lock_ids(fleet)[1:]):
        assert_refused_by(fleet.migrate(guest, a, host), lock_id)
    assert_at_rest(fleet, guest, a)

    change_key(fleet.trees[0])
    wait_for(lambda: f"0x{NEW_AES}" in a.run("apmigctl", "keys", QUEUE).stdout, "the new key of host-a to be seen")
    result = a.run(*command("unlock", CHANGE), check=False)
    text = result.stdout + result.stderr
    assert result.returncode == DIFFER
    for word in (QUEUE, f"0x{AES}", f"0x{NEW_AES}", *NAMES):
        assert word in text
    assert len(lock_ids(fleet)) == 3
    assert a.run(*command("keys", "--compare", QUEUE), check=False).returncode == DIFFER

    for tree in fleet.trees[1:]:
        change_key(tree)
    a.run(*command("unlock", CHANGE))
    for host in fleet.hosts:
        assert_unlocked(host)
    moved = fleet.migrate(guest, a, c)
    assert moved.wait(), moved.message
    assert_at_rest(fleet, guest, c)


def test_host_that_cannot_be_reached(fleet):
    """It is a no, and what was taken is given back; with --except it is said aloud."""
    fleet.servers[1].end()
    status, said, _ = lock(fleet)
    assert status == UNREACHABLE and said["Verdict"] == "NO-GO"
    assert "Connection refused" in by_host(said)["host-b"]["Problem"]
    for host in fleet.hosts:
        assert_unlocked(host)

    status, said, _ = lock(fleet, "--except", "host-b")
    assert (status, said["Verdict"]) == (GO_EXCEPT, "GO-EXCEPT")
    assert "host-b" in json.dumps(said)
    assert_unlocked(fleet.hosts[1])
    assert only_lock(fleet.hosts[0]) and only_lock(fleet.hosts[2])


def test_host_that_is_locked_by_another(fleet):
    """Whose lock it is, is said; it stays, and nothing else does."""
    a, b, c = fleet.hosts
    theirs = take_held(c, scope=QUEUE, reason="card replacement")
    status, said, told = lock(fleet)
    assert status == LOCKED and "card replacement" in json.dumps(said) + told
    assert_unlocked(a)
    assert_unlocked(b)
    assert only_lock(c) == theirs


def test_host_that_drains_for_ever(fleet):
    a, b, c = fleet.hosts
    guest = fleet.start_guest("g1", b, scope=QUEUE)
    migration = fleet.migrate(guest, b, c, bandwidth=1)
    fleet.wait_migrating(guest, b)
    status, said, told = lock(fleet, "--on-busy=wait", "--timeout=5s")
    assert status == BUSY_OR_LATE and "g1" in json.dumps(said) + told
    for host in fleet.hosts:
        assert_unlocked(host)
    assert not migration.ended
    fleet.finish_migration(guest, b)
    assert migration.wait(), migration.message
    assert_at_rest(fleet, guest, c)


def test_console_that_dies(fleet):
    """What it held stays, what it still waited for is cancelled; run again with the same change id it goes on with what is there."""
    a, b, c = fleet.hosts
    guest = fleet.start_guest("g1", b, scope=QUEUE)
    migration = fleet.migrate(guest, b, c, bandwidth=1)
    fleet.wait_migrating(guest, b)
    console = a.spawn(*lock_command("--on-busy=wait"))
    held, _ = only_lock(a, "held"), only_lock(b, "draining")
    console.end(signal.SIGKILL)
    wait_for(lambda: not b.locks(), "the request to host-b to be cancelled")
    fleet.finish_migration(guest, b)
    assert migration.wait(), migration.message
    status, said, _ = lock(fleet, "--on-busy=wait")
    assert (status, said["Verdict"]) == (GO, "GO")
    assert lock_ids(fleet)[0] == held


def test_two_consoles(fleet):
    """One gets all of it, and the other nothing."""
    consoles = [fleet.hosts[0].spawn(*lock_command(change=change)) for change in ("CHG0001", "CHG0002")]
    statuses = [console.wait(60) for console in consoles]
    assert sorted(statuses) == [GO, LOCKED], [console.output for console in consoles]
    won = f"CHG000{statuses.index(GO) + 1}"
    for host, lock_id in zip(fleet.hosts, lock_ids(fleet)):
        assert host.lock_property(lock_id, "ChangeId") == won


def test_host_that_dies_after_go(fleet):
    a, _, c = fleet.hosts
    assert lock(fleet)[0] == GO
    fleet.deaths_expected = True
    for process in (c.apmigd, fleet.servers[2]):
        process.end(signal.SIGKILL)
    status, said, _ = ask(fleet, *command("ready", "--json=short", CHANGE))
    assert status == UNREACHABLE and said["Verdict"] == "NO-GO"
    assert by_host(said)["host-c"]["Problem"]
    c.start_apmigd(arguments=("--sysfs-root", TREE))
    ssh.connect(a, [c])
    assert ask(fleet, *command("ready", "--json=short", CHANGE))[0] == GO


def test_apmigd_that_hangs(fleet):
    """It is named after its own deadline, and the others are told of before."""
    a, b, _ = fleet.hosts
    assert lock(fleet)[0] == GO
    b.apmigd.send(signal.SIGSTOP)
    try:
        status, said, _ = ask(fleet, *command("ready", "--json=short", "--host-timeout", "3s", CHANGE))
    finally:
        b.apmigd.send(signal.SIGCONT)
    assert status in (UNREACHABLE, NO_GO) and said["Verdict"] == "NO-GO"
    assert "3 s" in by_host(said)["host-b"]["Problem"]
    assert [by_host(said)[name]["State"] for name in ("host-a", "host-c")] == ["held"] * 2
