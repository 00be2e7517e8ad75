# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigd-act, asked by hand in the place of apmigd: what it does, what it refuses, and that nobody else can do it; and a host where
it cannot be reached."""

import json
import time

import pytest
from checks import KEYS, STAMP, assert_aborted, assert_at_rest, assert_held, take_held, told, wait_state
from host import ACT_SOCKET, PYTHON, wait_for

REMEDY = "systemctl enable --now apmigd-act.socket"
NO_GO = 33
SENDER = "22222222-2222-4222-8222-222222222222"
GOOD_STAMP = f'<stamp form="digest" host="{SENDER}" written-at="1" digest=""/>'

# daemon/act/protocol.h; prints what came of it, as JSON
PEER = """
import json, socket, struct, time

VERBS = ("ready", "abort", "write-stamp", "remove-stamp")
RESULTS = ("done", "nothing-to-do", "busy", "too-late", "refused", "failed")
verb, uuid, stamp, ago, left = ORDER
now = time.monotonic_ns() // 1000
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.settimeout(60)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)
try:
    peer.connect("/run/apmigd-act.sock")
    peer.send(struct.pack("=IIIIQqq40s", 0x61706d61, 1, VERBS.index(verb), len(stamp), 7, now - ago, now + left, uuid.encode())
              + stamp.encode())
    reply = peer.recv(4096)
    magic, version, result, _, number, message = struct.unpack("=IIIIQ1024s", reply)
    assert (magic, version, number) == (0x61706d62, 1, 7)
    print(json.dumps([RESULTS[result], message.rstrip(b"\\0").decode()]))
except (PermissionError, ConnectionResetError, BrokenPipeError, struct.error) as error:
    print(json.dumps(["no answer", str(error)]))
"""


def as_user(host, user, *argv, **options):
    group = "nogroup" if user == "nobody" else user
    return host.run("setpriv", "--reuid", user, "--regid", group, "--clear-groups", *argv, **options)


def ask(host, verb, guest, stamp="", ago=0.0, left=10.0, user="apmigd"):
    """What came of it, and the message. @ago, @left: seconds since the request, and until its deadline."""
    order = [verb, guest.uuid, stamp, int(ago * 1e6), int(left * 1e6)]
    return json.loads(as_user(host, user, PYTHON, "-", stdin=f"ORDER = {order!r}\n{PEER}").stdout)


def assert_refused(answer, words):
    assert answer[0] == "refused" and words in answer[1], answer


@pytest.fixture
def moving(rig, a, b):
    """(an affected guest, its migration, which lasts)"""
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    return guest, migration


def test_abort(rig, a, moving):
    guest, migration = moving
    result, message = ask(a, "abort", guest)
    assert result == "done", message
    assert_aborted(migration)
    assert_at_rest(rig, guest, a)
    assert ask(a, "abort", guest)[0] == "nothing-to-do"
    assert f"abort of guest g1 ({guest.uuid}), asked for by the user " in a.act_log()


def test_unaffected_guest(rig, a, b):
    guest = rig.start_guest("g1", a)
    assert_refused(ask(a, "write-stamp", guest, GOOD_STAMP), "is not affected")
    assert a.metadata(guest.name, STAMP) == ""
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    assert_refused(ask(a, "abort", guest), "is not affected")
    assert a.is_migrating_out(guest.name) and not migration.ended
    assert f"abort of guest g1 ({guest.uuid})" in a.act_log() and "refused" in a.act_log()


def test_later_job_and_deadline(a, moving):
    """A migration that began after it was asked for is another one; and a request does not lie about for long."""
    guest, migration = moving
    age = a.job(guest.name)["time_elapsed"] / 1000
    assert_refused(ask(a, "abort", guest, ago=age + 5), "began after the request")
    assert_refused(ask(a, "abort", guest, ago=0.2, left=-0.1), "deadline has passed")
    assert_refused(ask(a, "abort", guest, ago=-60, left=70), "a time to come")
    assert_refused(ask(a, "abort", guest, left=3600), "cannot be understood")
    assert a.is_migrating_out(guest.name) and not migration.ended


def test_others(a, moving):
    """Nobody but apmigd and root; and what apmigd may not do there, it may not do at libvirt."""
    guest, migration = moving
    assert ask(a, "abort", guest, user="nobody")[0] == "no answer"
    a.path(ACT_SOCKET).chmod(0o666)
    assert ask(a, "abort", guest, user="nobody")[0] == "no answer"
    wait_for(lambda: "may not ask for anything" in a.act_log(), "the log")
    virsh = ("virsh", "-q", "-c", "qemu:///system")
    for user in ("apmigd", "apmigd-fence"):
        assert as_user(a, user, *virsh, "domjobabort", guest.name, check=False).returncode != 0
        assert as_user(a, user, *virsh, "-r", "domjobabort", guest.name, check=False).returncode != 0
    assert guest.name in as_user(a, "apmigd", *virsh, "-r", "list").stdout
    assert a.is_migrating_out(guest.name) and not migration.ended


@pytest.mark.parametrize("stamp", [
    GOOD_STAMP + GOOD_STAMP,
    GOOD_STAMP.replace("/>", "><evil xmlns='urn:evil:1'/></stamp>"),
    GOOD_STAMP.replace("<stamp ", "<stamp xmlns='urn:apmigd:1' "),
    "<keys scope='all'/>",
    GOOD_STAMP.replace("/>", " newer='1'/>"),
    GOOD_STAMP.replace("/>", f"><!--{'x' * (256 * 1024 - 100)}--></stamp>"),
    GOOD_STAMP.replace("/>", f">{' ' * (256 * 1024)}</stamp>"),
], ids=["two", "foreign", "namespace", "another", "attribute", "large", "too-large"])
def test_what_is_no_stamp(rig, a, stamp):
    guest = rig.start_guest("g1", a, scope=KEYS)
    before = a.virsh("dumpxml", guest.name).stdout
    assert ask(a, "write-stamp", guest, stamp)[0] == "refused"
    assert a.virsh("dumpxml", guest.name).stdout == before


def test_stamp(rig, a):
    guest = rig.start_guest("g1", a, scope=KEYS)
    assert ask(a, "write-stamp", guest, GOOD_STAMP)[0] == "done"
    assert SENDER in a.metadata(guest.name, STAMP) and KEYS in a.metadata(guest.name, "urn:apmigd:1")
    assert ask(a, "remove-stamp", guest)[0] == "done"
    assert a.metadata(guest.name, STAMP) == "" and KEYS in a.metadata(guest.name, "urn:apmigd:1")
    assert ask(a, "remove-stamp", guest)[0] == "nothing-to-do"


def test_not_there(rig, a, b):
    """The step says so, with the remedy, the lock is breached while nobody can end the migration, and `ready` was NO-GO before
    that; once it is back everything goes on by itself."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    a.stop_act()
    lock = take_held(a)

    def no_go():
        ready = a.run("apmigctl", "ready", check=False)
        return ready.returncode == NO_GO and ready.stdout

    assert REMEDY in wait_for(no_go, "it to be missed")
    assert_held(a, lock)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    wait_state(a, lock, "breached")
    wait_for(lambda: any("unavailable: nobody listens" in line and REMEDY in line for line in told(a, "STEP_FINISHED")),
             "the step to say so")
    time.sleep(1)
    assert not migration.ended
    a.start_act()
    assert_aborted(migration)
    wait_state(a, lock, "held")
    wait_for(lambda: a.run("apmigctl", "ready", check=False).returncode == 0, "it to be found")
    assert_at_rest(rig, guest, a)
