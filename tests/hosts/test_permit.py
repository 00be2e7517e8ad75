# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host that dies must be emptied: a guest with a permit goes through locks on both hosts, once."""

from checks import KEYS, assert_at_rest, assert_held, assert_refused_by, digest, take_held, wait_state


def permit(host, guest):
    host.call_manager("PermitMigration", "ssa{sv}", guest.name, "the host dies", "0")


def test_leaves_and_arrives_in_spite_of_locks(rig, a, b):
    """Without a breach; locks on both sides are held again when it is over, and the next one is refused."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    locks = {host: take_held(host) for host in (a, b)}
    assert_refused_by(rig.migrate(guest, a, b), locks[b])
    digest(a)
    wait_state(a, locks[a], "held")
    breaches = a.lock_property(locks[a], "Breaches")
    for host in (a, b):
        permit(host, guest)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    for host, lock in locks.items():
        wait_state(host, lock, "permitted")
    rig.wait_migrating(guest, a)
    rig.finish_migration(guest, a)
    assert migration.wait(), migration.message
    for host, lock in locks.items():
        wait_state(host, lock, "held")
        assert host.call_manager("ListPermits")[0] == []
    assert_held(b, locks[b])
    assert a.lock_property(locks[a], "Breaches") == breaches
    assert_at_rest(rig, guest, b)
    assert_refused_by(rig.migrate(guest, b, a), locks[a])


def test_arrives_while_apmigd_is_down(rig, a, b):
    """The hook takes the permit by itself; apmigd knows of it when it is back."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(b)
    permit(b, guest)
    rig.deaths_expected = True
    b.stop_apmigd()
    assert rig.migrate(guest, a, b).wait()
    assert not rig.migrate(rig.start_guest("g2", a, scope=KEYS), a, b).wait()
    b.start_apmigd()
    wait_state(b, lock, "held")
    assert_at_rest(rig, guest, b)
