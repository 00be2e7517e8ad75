# SPDX-License-Identifier: LGPL-2.1-or-later
"""One change of master keys on three hosts, from one desk, shown and explained. See tests/demo.sh."""

import ssh
from fake_ap_tree import FakeApTree
from telling import command, explain, run, show, tell_where, type_on

KEYS = "04.0012"
NEW_AES = "00000000000000b2"
CHANGE, REASON = "CHG0042", "AES master key rotation"
HOSTS = ("host-a", "host-b", "host-c")
TREE = "/run/fake-ap-tree"
POLICY = '{"watch-keys-usec": 500000}'


def apmigctl(desk, *argv, **options):
    type_on(desk, "apmigctl", "--hosts", ",".join(HOSTS), *argv, **options)


def change_key(tree):
    """With every adapter that serves the domain: a guest takes them for one."""
    tree.load(KEYS, "AES", NEW_AES)
    tree.set(KEYS, "AES")


def prepare(rig):
    trees = [FakeApTree(host.path(TREE)) for host in rig.hosts]
    for host in rig.hosts:
        host.set_policy(POLICY)
        host.stop_apmigd()
        host.start_apmigd(arguments=("--sysfs-root", TREE), wait=False)
    for host in rig.hosts:
        host.wait_apmigd()
    ssh.connect(rig.hosts[0], rig.hosts)
    return trees


def begin(rig, a, b, c):
    explain("Three hosts, each with a libvirtd, a system bus, an ssh server and an apmigd of its own. There is no crypto "
            "hardware here: what cards and keys they have they read from a fake AP tree. g1 runs on host-a and g2 on "
            f"host-b; the keys of both lie on adapter 04, domain 0012 ({KEYS}).")
    first, second = rig.start_guest("g1", a, scope=KEYS), rig.start_guest("g2", b, scope=KEYS)
    explain("g1 is on its way to host-c. The bandwidth is limited, so that there is something to see.")
    migration = rig.migrate(first, a, c, bandwidth=1)
    rig.wait_migrating(first, a)
    show(a, command(first, c, "--bandwidth", "1"), "", background=True)
    return first, second, migration


def take(rig, a, first, migration):
    explain("The AES master key is to be changed on all three. host-a is the crypto administrator's desk today: from there "
            "she asks all of them for the lock, over ssh, with one command. The answer is GO when each host has proven "
            "that no migration is in progress on it, and none can come in. The migration of g1 is ended for that.")
    apmigctl(a, "lock", "--change-id", CHANGE, KEYS, REASON)
    assert not migration.wait()
    tell_where(rig, first, a)


def try_to_migrate(rig, a, b, c, first, second):
    explain("Whatever two hosts it is between, no migration of a guest with these keys gets through:")
    type_on(b, *command(second, c), fails=True)
    type_on(b, *command(second, a), fails=True)
    tell_where(rig, second, b)
    explain("Asked again, each host proves it anew; this is what she does before she changes the key of each host.")
    apmigctl(a, "ready", CHANGE)


def change(a, trees):
    explain("She changes the key of host-a. Should she believe now that she is done: the release is refused, for the keys "
            "of the hosts are not in step, and a guest that moved would find its secure keys dead.")
    change_key(trees[0])
    apmigctl(a, "unlock", CHANGE, fails=True)
    explain("The same question may be asked at any time, and changes nothing:")
    apmigctl(a, "keys", "--compare", KEYS, fails=True)


def release(rig, a, b, c, second, trees):
    explain("She changes the key of the other two. Now the release is granted, and everything goes its way again.")
    for tree in trees[1:]:
        change_key(tree)
    apmigctl(a, "unlock", CHANGE)
    type_on(b, *command(second, c))
    tell_where(rig, second, c)


def play(rig):
    a, b, c = rig.hosts
    trees = prepare(rig)
    first, second, migration = begin(rig, a, b, c)
    take(rig, a, first, migration)
    try_to_migrate(rig, a, b, c, first, second)
    change(a, trees)
    release(rig, a, b, c, second, trees)


run(play, HOSTS)
