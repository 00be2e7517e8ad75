# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may read: everybody, until the site has polkit close it; root always.

A caller of these tests keeps his connection, for polkit is asked once for each.
"""
import contextlib
import os
import pathlib
import pwd
import shutil
import struct

import pytest
import rig
import wire
from rig import ACCESS_DENIED, INSPECT, LIMIT, LOCK, MANAGER, NAME, OTHER, PROPERTIES, ROOT_PATH, domain, until

MANAGED = "org.freedesktop.DBus.ObjectManager"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
CALLS_MAX = 32  # of one connection, and of one user: dbus/server/call.c


def words(*texts):
    body = b""
    for text in texts:
        body = wire.aligned(body, 4) + wire.string(text)
    return body


# What sd-bus answers by itself, what apmigd does at once, and what takes it time: (interface, member, body, signature)
GET_LOCKED = (PROPERTIES, "Get", words(MANAGER, "Locked"), "ss")
READING = [GET_LOCKED, (PROPERTIES, "GetAll", words(MANAGER), "s"), (MANAGED, "GetManagedObjects", b"", ""),
           (INTROSPECTABLE, "Introspect", b"", ""), (MANAGER, "ListLocks", b"", ""), (MANAGER, "ListPermits", b"", ""),
           (MANAGER, "ListQueues", b"", ""), (MANAGER, "CheckMigration", words(domain()), "s")]


class Reader:
    """A connection to the bus as some user, over which calls are sent without waiting."""

    def __init__(self, bus, user):
        os.seteuid(pwd.getpwnam(user).pw_uid)  # which the bus sees when somebody connects
        try:
            self.socket = wire.hello(bus.address)
        finally:
            os.seteuid(0)
        self.socket.settimeout(LIMIT)
        self.serial = 1
        self.signals = 0
        self.buffer = bytearray()

    def send(self, *calls):
        for interface, member, body, signature in calls:
            self.serial += 1
            self.socket.sendall(wire.call(self.serial, member, body, signature, NAME, interface=interface))

    def listen(self):
        match = wire.string(f"type='signal',sender='{NAME}'")
        self.serial += 1
        self.socket.sendall(wire.call(self.serial, "AddMatch", match, "s", *wire.BUS))

    def answers(self, count):
        """As they come: True for a reply, else the header of the error."""
        answers = []
        while len(answers) < count:
            for kind, _, header in wire.read_messages(self.buffer):
                self.signals += kind == wire.SIGNAL and b"PropertiesChanged" in header
                if kind in (wire.REPLY, wire.ERROR) and b"org.freedesktop.DBus\0" not in header:  # not of the bus itself
                    answers.append(True if kind == wire.REPLY else header)
            if len(answers) < count:
                self.buffer += self.socket.recv(1 << 16)
        return answers

    def ask(self, *calls):
        self.send(*calls)
        return self.answers(len(calls))

    def close(self):
        self.socket.close()


@pytest.fixture
def running(daemon, hypervisor):
    """As a user of its own, whom polkit and the bus believe no more than they have to."""
    daemon.run_as()
    return daemon.start()


@pytest.fixture
def reader(running, bus):
    reader = Reader(bus, rig.NOBODY)
    yield reader
    reader.close()


@pytest.fixture
def lock(running, root):
    return root.take("04.*", "root's own")


def test_polkit_is_asked_once_of_who_reads(running, reader, root, bus):
    polkit = bus.start_polkit({INSPECT: "yes"})
    assert reader.ask(*READING) == [True] * len(READING)
    assert reader.ask(*READING) == [True] * len(READING)
    assert root.locks() == [] and root.manager()["Locked"] is False
    questions = polkit.asked_of_readers()
    assert len(questions) == 1 and questions[0]["details"] == {} and polkit.asked() == []


def test_what_is_held_back_is_answered_as_ever(lock, nobody, root, bus):
    """Every caller's first call is; root's too, until the bus has said that he is root."""
    bus.start_polkit()
    paths = nobody.call(ROOT_PATH, MANAGED, "GetManagedObjects")[0]
    assert set(paths) == {lock}
    assert rig.lasting(paths[lock][LOCK]) == rig.lasting(root.lock(lock))
    assert lock.rpartition("/")[2] in nobody.call("/org/apmigd1/lock", INTROSPECTABLE, "Introspect")[0]
    assert nobody.call(lock, PROPERTIES, "Get", "ss", LOCK, "Reason") == ["root's own"]
    error = nobody.start(lock, PROPERTIES, "Get", "ss", LOCK, "Nonsense").error()
    assert error.name == "org.freedesktop.DBus.Error.UnknownProperty" and "Nonsense" in error.message
    assert nobody.start(lock + "0", PROPERTIES, "GetAll", "s", LOCK).error().name.endswith(".UnknownObject")


def test_properties_that_the_site_has_closed(lock, root, nobody, bus, ctl):
    polkit = bus.start_polkit({INSPECT: "no", "*": "yes"})
    for path, interface, member, *arguments in ((lock, PROPERTIES, "Get", "ss", LOCK, "Reason"), (lock, PROPERTIES, "GetAll", "s", ""),
                                                (ROOT_PATH, MANAGED, "GetManagedObjects"), ("/", INTROSPECTABLE, "Introspect")):
        error = nobody.start(path, interface, member, *arguments).error()
        assert error.name == ACCESS_DENIED and INSPECT in error.message
        assert root.call(path, interface, member, *arguments)
    assert len(polkit.asked_of_readers()) == 4
    status, out, err = ctl("list", client=nobody)
    assert (status, out) == (4, "") and INSPECT in err
    assert nobody.call(ROOT_PATH, "org.freedesktop.DBus.Peer", "Ping") == []
    nobody.take("05.*", "which is another right")


def test_a_no_is_kept_as_well(reader, bus):
    polkit = bus.start_polkit({INSPECT: "no"})
    first, second = reader.ask(GET_LOCKED), reader.ask(READING[4])
    assert b"AccessDenied" in first[0] and b"AccessDenied" in second[0]
    assert len(polkit.asked_of_readers()) == 1


def test_polkit_that_cannot_say_may_have_closed_it(reader, root, bus):
    """And is asked again."""
    polkit = bus.start_polkit({INSPECT: "fail"})
    assert b"AccessDenied" in reader.ask(GET_LOCKED)[0]
    assert root.manager()["Locked"] is False
    polkit.answers({INSPECT: "yes"})
    assert reader.ask(GET_LOCKED) == [True]


def test_nobody_waits_for_a_reader_of_whom_polkit_is_silent(running, reader, root, bus):
    """Who waits with more than others may is refused at once; who leaves is not waited for."""
    polkit = bus.start_polkit({INSPECT: "silent"})
    reader.send(*[GET_LOCKED] * (CALLS_MAX + 3))
    refused = reader.answers(3)
    assert all(answer is not True and b"LimitExceeded" in answer for answer in refused)
    until(polkit.asked_of_readers, "the question to polkit")
    lock = root.take()
    assert root.lock(lock)["State"] == "held" and root.admit(domain())[0] is False
    polkit.answers({INSPECT: "yes"})
    other = Reader(bus, OTHER)
    assert other.ask(GET_LOCKED) == [True]
    other.close()
    reader.close()
    until(lambda: "cancelled" in polkit.all_asked()[-1], "polkit to be told that nobody waits any more")


def test_what_waits_is_small(reader, bus):
    """No matter how much somebody sends, with that polkit is not even asked."""
    polkit = bus.start_polkit({INSPECT: "silent"})
    large = "x" * 4096
    answers = reader.ask((PROPERTIES, "GetAll", words(large), "s"), (MANAGED, "GetManagedObjects", words(large), "s"),
                         (INTROSPECTABLE, "Introspect", struct.pack("<I", 1), "u"))
    assert all(answer is not True and b"InvalidArgs" in answer for answer in answers)
    assert polkit.all_asked() == []


POLKITD = pathlib.Path("/usr/lib/polkit-1/polkitd")
POLKIT_POLICY = """<policy user="polkitd"><allow own="org.freedesktop.PolicyKit1"/></policy>
  <policy context="default"><allow send_destination="org.freedesktop.PolicyKit1"/></policy>"""
START_POLKITD = f"""mount --bind "$0/actions" /usr/share/polkit-1/actions && mount --bind "$0/rules" /etc/polkit-1/rules.d &&
exec {POLKITD} --no-debug"""


@contextlib.contextmanager
def bus_with_apmigd(folder, more):
    """As root, whom polkit lets ask for others: apmigd's user, whom the actions name for that, need not be there."""
    bus = rig.Bus(folder, more)
    daemon = rig.Daemon(bus, folder, rig.APMIGD_SCRIPTED, f"scripted:{folder}/hypervisor")
    try:
        daemon.start()
        yield bus
    finally:
        daemon.close()
        bus.close()


@pytest.mark.skipif(not POLKITD.exists(), reason="there is no polkitd on this machine")
@pytest.mark.parametrize("closed", [False, True])
def test_the_real_polkit(folder, closed):
    """With the actions as they are shipped, and with the example's rule."""
    for name, file in (("actions", "dbus/org.apmigd1.policy"), ("rules", "docs/examples/50-apmigd-readers.rules")):
        (folder / name).mkdir()
        if name == "actions" or closed:
            shutil.copy(rig.SOURCE / file, folder / name)
    with bus_with_apmigd(folder, POLKIT_POLICY) as bus:
        bus.start("unshare", "--mount", "sh", "-c", START_POLKITD, folder, stdout=None, stderr=None)
        until(lambda: bus.has_name("org.freedesktop.PolicyKit1"), "polkitd")
        reader = Reader(bus, rig.NOBODY)
        answer = reader.ask(GET_LOCKED)[0]
        assert (answer is not True and b"AccessDenied" in answer) if closed else answer is True
        assert rig.Client(bus).manager()["Locked"] is False
        reader.close()


@pytest.mark.parametrize("closed", [False, True])
def test_signals_are_the_buss_to_close(folder, closed):
    """By the example; they come before the answer to what is asked afterwards."""
    example = rig.SOURCE / "docs" / "examples" / "apmigd-readers.conf"
    with bus_with_apmigd(folder, f"<include>{example}</include>" if closed else "") as bus:
        readers = {user: Reader(bus, user) for user in (rig.NOBODY, "root")}
        for reader in readers.values():
            reader.listen()
            assert reader.ask(GET_LOCKED) == [True]
        rig.Client(bus).take()
        for user, reader in readers.items():
            assert reader.ask(GET_LOCKED) == [True]
            assert (reader.signals > 0) is (user == "root" or not closed)
            reader.close()
