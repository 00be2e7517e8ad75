# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys: real guests that declare theirs, real migrations, and hosts that each see a fake AP tree of their own, for there
is no crypto hardware here (see fake_ap_tree.py). The cards are asked twice a second."""

import json
import time

import pytest
from checks import (REASON, assert_at_rest, assert_held, assert_refused_by, assert_unlocked, host_id, only_lock,
                    take_held, wait_stamp, wait_state)
from fake_ap_tree import AES, FakeApTree
from host import PATIENCE, wait_for

TREE = "/run/fake-ap-tree"
QUEUE, OTHER_QUEUE, DOMAIN = "04.0012", "04.0013", "*.0012"
NEW_AES = "00000000000000b2"
INTERVAL = 0.5  # seconds between two readings of the cards
POLICY = {"stamp": "full", "watch-keys-usec": int(INTERVAL * 1000000), "evidence-interval-usec": 1000000}
UNFINISHED = 11  # exit status of apmigctl


@pytest.fixture
def trees(rig):
    """Both hosts' trees, with the same keys. apmigd sees them once it is started by start()."""
    trees = [FakeApTree(host.path(TREE)) for host in rig.hosts]
    yield trees
    for tree in trees:
        tree.remove()


def start(rig, **policy):
    for host in rig.hosts:
        host.set_policy(json.dumps({**POLICY, **{name.replace("_", "-"): value for name, value in policy.items()}}))
        host.stop_apmigd()
        host.start_apmigd(arguments=("--sysfs-root", TREE), wait=False)
    for host in rig.hosts:
        host.wait_apmigd()


def key(host, queue, key_class):
    """What apmigd says of one master key."""
    keys = json.loads(host.run("apmigctl", "keys", "--json=short", queue).stdout)
    return next(entry for entry in keys if entry["class"] == key_class)


def wait_keys(*hosts):
    """Until each knows its own."""
    for host in hosts:
        wait_for(lambda host=host: key(host, QUEUE, "AES")["evidence"] == "verified", f"the keys of {host.name}")


def test_lock_of_one_domain(rig, a, b, trees):
    """Guests of other domains come and go, also one that migrates already; and their keys are known to agree."""
    start(rig, keys_unknown="deny", stamp_missing="deny")
    wait_keys(a, b)
    locked, other = rig.start_guest("g1", a, scope=QUEUE), rig.start_guest("g2", a, scope=OTHER_QUEUE)
    wait_stamp(a, locked, AES)
    of_a = host_id(wait_stamp(a, other, AES))
    migration = rig.migrate(other, a, b, bandwidth=1)
    rig.wait_migrating(other, a)
    lock = take_held(a, scope=DOMAIN)
    assert a.is_migrating_out(other.name)
    rig.finish_migration(other, a)
    assert migration.wait(), migration.message
    assert_at_rest(rig, other, b)

    wait_stamp(a, locked, lock)
    assert_refused_by(rig.migrate(locked, a, b), lock)
    assert_at_rest(rig, locked, a)
    wait_stamp(b, other, AES, without=[of_a])
    back = rig.migrate(other, b, a)
    assert back.wait(), back.message
    assert_at_rest(rig, other, a)
    wait_stamp(a, other, AES, of_a, without=[lock])
    assert a.lock_property(lock, "State") == "held"
    assert "ADMISSION_DOUBTFUL" not in a.apmigd_log() + b.apmigd_log()


def denial(rig, guest, a, b):
    migration = rig.migrate(guest, a, b)
    assert not migration.wait()
    return migration.message


def test_other_keys_at_the_destination(rig, a, b, trees):
    """Refused by the hook, with both keys; the guest of the other domain moves."""
    trees[1].load(QUEUE, "AES", NEW_AES)
    trees[1].set(QUEUE, "AES")
    start(rig)
    wait_keys(a, b)
    guest, other = rig.start_guest("g1", a, scope=QUEUE), rig.start_guest("g2", a, scope=OTHER_QUEUE)
    for stamped in (guest, other):
        wait_stamp(a, stamped, "verified", AES)

    lock = take_held(b, scope=OTHER_QUEUE)
    message = denial(rig, guest, a, b)
    assert lock in denial(rig, other, a, b) and lock not in message
    for part in ("Master keys differ", f"AP queue {QUEUE}", f"AES CUR is 0x{AES} on the source (verified)",
                 f"0x{NEW_AES} on this host (verified)"):
        assert part in message
    assert guest.name not in b.guests()
    assert_at_rest(rig, guest, a)

    b.release(lock)
    moved = rig.migrate(other, a, b)
    assert moved.wait(), moved.message
    assert_at_rest(rig, other, b)


def test_release_of_a_half_loaded_key(rig, a, b, trees):
    """A whole key change on two hosts, one step after the other."""
    start(rig)
    wait_keys(a, b)
    guest = rig.start_guest("g1", a, scope=QUEUE)
    wait_stamp(a, guest, AES)
    locks = {host: take_held(host, scope=DOMAIN) for host in (a, b)}
    for tree in trees:
        tree.load(QUEUE, "AES")

    path = f"/org/apmigd1/lock/{locks[a]}"
    error = a.run("gdbus", "call", "--system", "--dest", "org.apmigd1", "--object-path", "/org/apmigd1", "--method",
                  "org.apmigd1.Manager.ReleaseLock", path, "@a{sv} {}", check=False).stderr
    assert "org.apmigd1.Error.KeyChangeUnfinished" in error and f"AES NEW is partial in AP queue {QUEUE}" in error
    refused = a.run("apmigctl", "unlock", locks[a], check=False)
    assert refused.returncode == UNFINISHED and QUEUE in refused.stderr
    assert_held(a, locks[a])

    for tree in trees:
        tree.load(QUEUE, "AES", NEW_AES)
        tree.set(QUEUE, "AES")
    a.release(locks[a])
    assert_unlocked(a)
    wait_stamp(a, guest, NEW_AES, without=[locks[a]])
    assert_refused_by(rig.migrate(guest, a, b), locks[b])
    b.release(locks[b])
    moved = rig.migrate(guest, a, b)
    assert moved.wait(), moved.message
    assert_at_rest(rig, guest, b)
    assert "ADMISSION_DOUBTFUL" not in b.apmigd_log() and "KEYS_CHANGED" not in a.apmigd_log() + b.apmigd_log()


def test_key_that_nobody_announced(rig, a, b, trees, record_property):
    """apmigd locks by itself, and what follows is as under any lock."""
    start(rig, on_unannounced="lock")
    wait_keys(a, b)
    guest = rig.start_guest("g1", a, scope=QUEUE)
    incoming = rig.start_guest("g2", b, scope=QUEUE)
    wait_stamp(a, guest, AES)
    loaded = time.time()
    trees[0].load(QUEUE, "AES", NEW_AES)
    lock = only_lock(a)
    taken = wait_for(a.locks, "the lock")[0]
    seconds = taken["since"] / 1000000 - loaded
    record_property("locked by itself after seconds:", f"{seconds:.2f}")
    assert seconds < 2 * INTERVAL * PATIENCE + 0.5
    assert taken["scope"] == DOMAIN and f"AES NEW is full in AP queue {QUEUE}" in taken["reason"]
    assert a.lock_property(lock, "Origin") == "itself"

    wait_state(a, lock, "held")
    wait_stamp(a, guest, lock)
    for migration in (rig.migrate(guest, a, b), rig.migrate(incoming, b, a)):
        assert not migration.wait()
        assert lock in migration.message and "apmigd" in migration.message
    assert_at_rest(rig, guest, a)
    assert_at_rest(rig, incoming, b)
    assert_unlocked(b)


def test_queues_that_only_guests_can_read(rig, a, b, trees):
    """Of a queue that is set aside for guests a host knows no key: that is a doubt, and by policy a no."""
    start(rig)
    wait_keys(a, b)
    guest = rig.start_guest("g1", a, scope=QUEUE)
    wait_stamp(a, guest, AES)
    trees[1].give_to_guests(QUEUE[3:])
    wait_for(lambda: key(b, QUEUE, "AES")["evidence"] == "unknown", "the key to be out of reach")
    assert rig.migrate(guest, a, b).wait()
    assert f"is not known: {QUEUE}" in b.apmigd_log()
    assert_at_rest(rig, guest, b)
    wait_stamp(b, guest, f'at="{QUEUE}"', without=[AES])

    start(rig, keys_unknown="deny")
    wait_keys(a)
    migration = rig.migrate(guest, b, a)
    assert not migration.wait()
    assert f"is not known: {QUEUE}" in migration.message and REASON not in migration.message
    assert_at_rest(rig, guest, b)
