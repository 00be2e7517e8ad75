# SPDX-License-Identifier: LGPL-2.1-or-later
"""The private socket, with apmigd as a user of its own: who is let in, what is there, who has gone; and life without a bus."""
import json
import socket
import sys
import time

import pytest
import rig
import wire
from gi.repository import Gio, GLib
from private import Hook, Private
from rig import LIMIT, LOCK, MANAGER, ROOT_PATH, domain, until, uuid_of

OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"


@pytest.fixture
def own(daemon, hypervisor):
    """apmigd-scripted as a user of its own, running."""
    daemon.run_as()
    return daemon.start()


@pytest.fixture
def connect(daemon):
    """Makes connections to the private socket."""
    made = []

    def connect():
        made.append(Private(daemon))
        return made[-1]

    yield connect
    for private in made:
        private.close()


@pytest.fixture
def hook(daemon):
    return Hook(daemon)


# --- who is let in --------------------------------------------------------------------------------------


def test_socket_is_for_root(own):
    path = own.runtime / "private"
    assert path.is_socket() and path.stat().st_mode & 0o7777 == 0o600
    assert path.owner() == rig.OWN_USER


@pytest.mark.parametrize("user", [rig.NOBODY, rig.OWN_USER])
def test_others_are_closed_at_once(own, bus, connect, user):
    """Whatever the socket's mode: apmigd itself looks whose the connection is. It reads nothing of them."""
    (own.runtime / "private").chmod(0o666)
    script = ("import socket, sys; peer = socket.socket(socket.AF_UNIX); peer.settimeout(float(sys.argv[2]))\n"
              "peer.connect(sys.argv[1])\n"
              "try: print(peer.recv(1))\nexcept ConnectionError: print(b'')")
    out, err = rig.Client(bus, user).run(sys.executable, "-c", script, own.runtime / "private", LIMIT).communicate(timeout=2 * LIMIT)
    assert out == "b''\n", err
    assert connect().locks() == []


def test_all_is_there(own, root, connect):
    """Objects, methods, properties and signals are those of the bus; who calls is root."""
    private, listener = connect(), connect()
    lock = private.take("04.0012")
    path, interfaces = listener.wait_for("InterfacesAdded")
    assert path == lock and interfaces[LOCK]["OwnerUid"] == 0
    listener.wait_for("PropertiesChanged", lambda arguments: arguments[1].get("State") == "held")
    assert set(private.call(ROOT_PATH, OBJECT_MANAGER, "GetManagedObjects")[0]) == {lock}
    assert rig.lasting(private.get(lock, LOCK)) == rig.lasting(root.lock(lock))
    xml = private.call(ROOT_PATH, "org.freedesktop.DBus.Introspectable", "Introspect")[0]
    assert MANAGER in xml and OBJECT_MANAGER in xml
    with pytest.raises(rig.BusError, match="there is no lock|There is no lock"):
        private.release("/org/apmigd1/lock/00000000")
    private.release(lock)
    assert listener.wait_for("LockEnded")[2] == "released"
    assert root.locks() == []


# --- who has gone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_yes_counts_from_when_its_caller_has_gone(daemon, hypervisor, bus, connect, public):
    """libvirt goes on when the hook has ended, and not before."""
    daemon.policy(admission_usec=2000000, held_interval_usec=100000)
    daemon.run_as()
    daemon.start()
    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    connection = Gio.DBusConnection.new_for_address_sync(bus.address, flags, None, None) if public else connect().connection
    question = GLib.Variant("(sssss)", ("g1", "migrate", "begin", "-", domain()))
    assert connection.call_sync(rig.NAME if public else None, ROOT_PATH, MANAGER, "AdmitMigration", question, None,
                                Gio.DBusCallFlags.NONE, LIMIT * 1000, None).unpack()[0]
    time.sleep(1.5)
    assert daemon.admission_files() != []
    connection.close_sync(None)
    gone = time.monotonic()
    until(lambda: daemon.admission_files() == [], "the yes to be over")
    assert time.monotonic() - gone > 1.9


def start_draining(hypervisor, private):
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    private.send(ROOT_PATH, MANAGER, "TakeLock", "(ssa{sv})", "04.*", "AES rotation", {})


def test_end_of_the_connection_withdraws_the_request(own, hypervisor, root, connect, bus):
    monitor = bus.monitor()
    private = connect()
    start_draining(hypervisor, private)
    root.wait_for_lock(state="draining")
    private.close()
    assert monitor.wait_for("LockEnded")[2] == "cancelled"
    assert root.locks() == []


def test_lost_bus_is_the_end_of_its_callers(own, hypervisor, root, connect, bus):
    """A request that drains is withdrawn, a lock that is held stays, and the gate with it."""
    private = connect()
    held = private.take("05.*")
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    call = root.start_take("04.*")
    until(lambda: len(private.locks()) == 2, "the request")
    bus.end()
    assert private.wait_for("LockEnded")[2] == "cancelled"
    call.kill()
    assert [lock[0] for lock in private.locks()] == [held]
    assert own.process.poll() is None


# --- bounds ---------------------------------------------------------------------------------------------


def test_idle_connections_keep_nobody_out(own, connect, hook):
    """Those that wait for nothing make room, the oldest first."""
    listener = connect()
    idle = []
    for _ in range(200):
        idle.append(socket.socket(socket.AF_UNIX))
        idle[-1].connect(str(own.runtime / "private"))
    assert hook.run(domain()) == (0, "")
    until(listener.connection.is_closed, "the oldest to be closed")
    for one in idle:
        one.close()
    assert connect().locks() == []


def test_waiting_connections_are_kept(own, hypervisor, connect):
    """Whoever waits for an answer is not the one that makes room."""
    waiting = connect()
    start_draining(hypervisor, waiting)
    other = connect()
    until(lambda: len(other.locks()) == 1, "the request")
    idle = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    for one in idle:
        one.connect(str(own.runtime / "private"))
    assert len(connect().locks()) == 1
    for one in idle:
        one.close()


def test_who_does_not_read_is_closed(own, connect):
    peer = wire.authenticate(f"unix:path={own.runtime}/private")
    peer.settimeout(LIMIT)
    with pytest.raises(OSError):
        for serial in range(1, 1_000_000):
            peer.sendall(wire.call(serial, "DescribePolicy"))
    peer.close()
    assert connect().locks() == []


def test_call_that_comes_with_the_end_of_the_authentication(own):
    """Read together with it, it is answered all the same."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(LIMIT)
    peer.connect(str(own.runtime / "private"))
    peer.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n" + wire.call(7, "ListLocks") + wire.call(8, "ListLocks"))
    buffer = bytearray()
    answered = []
    while len(answered) < 2:
        buffer += peer.recv(4096)
        if b"OK " in buffer:
            del buffer[:buffer.rindex(b"\r\n") + 2]
        answered += [kind for kind, _, _ in wire.read_messages(buffer)]
    assert answered == [wire.REPLY, wire.REPLY]
    peer.close()


# --- the hook -------------------------------------------------------------------------------------------


def test_hook_needs_no_bus(own, connect, hook, bus):
    bus.end()
    private = connect()
    assert hook.run(domain(scope="05.0001")) == (0, "")
    private.take("04.*", "AES rotation")
    status, said = hook.run(domain(scope="04.0012"))
    assert status == 1 and "AES rotation" in said


def test_hook_goes_by_the_bus_where_nobody_listens(own, hook):
    """As while an apmigd runs that has no such socket, or one that is to be started by the bus."""
    (own.runtime / "private").unlink()
    assert hook.run(domain()) == (0, "")


def test_hook_asks_the_bus_only_when_it_cannot_connect(own, daemon, root):
    """One that hangs is asked no second time: the time is for both."""
    hook = Hook(daemon, "[Hook]\nTimeout=6\n")
    own.process.send_signal(rig.signal.SIGSTOP)
    try:
        status, said = hook.run(domain())
    finally:
        own.process.send_signal(rig.signal.SIGCONT)
    assert status == 1 and "no answer within 6 s" in said
    assert hook.seconds[0] < 2 * 6


def test_allowed_unreachable_with_a_lock_on_disk(own, daemon, connect):
    """The gate stays shut for whom a lock may concern, whatever the configuration allows without apmigd."""
    hook = Hook(daemon, "[Hook]\nTimeout=1\nOnUnreachable=allow\n")
    connect().take("04.*")
    own.kill()
    daemon.bus.end()
    status, said = hook.run(domain())
    assert status == 1 and "there is a lock" in said and "systemctl start apmigd" in said


# --- without a bus --------------------------------------------------------------------------------------


def test_start_without_a_bus(daemon, hypervisor, connect, hook, bus, root):
    """Ready, gate and locks at work; on the bus as soon as there is one, and the journal says so."""
    bus.end()
    daemon.run_as()
    daemon.start()
    assert "cannot connect to the system bus" in daemon.read_log()
    lock = connect().take("04.*")
    assert hook.run(domain(scope="04.0012"))[0] == 1 and hook.run(domain(scope="05.0001"))[0] == 0
    bus.begin()
    until(bus.has_name, "the name")
    daemon.wait_for_log("has org.apmigd1 again")
    assert root.lock(lock)["State"] == "held"


def test_bus_that_is_stopped_and_started_again(own, connect, hook, bus, root):
    lock = root.take("04.*")
    for _ in range(2):
        bus.end()
        own.wait_for_log("the connection to the bus was lost")
        assert hook.run(domain(scope="04.0012"))[0] == 1
        bus.begin()
        until(bus.has_name, "the name")
        assert root.lock(lock)["State"] == "held"
    monitor = bus.monitor()
    connect().release(lock)
    assert monitor.wait_for("LockEnded")[0] == lock  # signals as before
    assert own.read_log().count("was lost") == 2 and own.read_log().count("again") >= 2
    own.stop()


def test_apmigctl_without_a_bus(own, bus, ctl):
    """Root's verbs go on, and say how; no lock is kept by a bus that is broken."""
    bus.end()

    def run(*arguments):
        status, out, err = ctl(*arguments)
        told = [line for line in err.splitlines() if "the system bus cannot be reached" in line]
        assert len(told) == 1 and "asked over its private socket" in told[0]
        return status, out

    status, out = run("lock", "--json=short", "04.*", "AES rotation")
    lock = json.loads(out)
    assert status == 0 and lock["State"] == "held"
    assert lock["Id"] in run("list")[1] and "AES rotation" in run("status")[1]
    assert run("ready")[0] == 0 and run("wait", lock["Id"])[0] == 0
    assert "apmigd_up 1" in run("metrics")[1]
    status, out = run("doctor", "--json=short", "--config", own.config)
    found = {finding["Check"]: finding for finding in json.loads(out)["Findings"]}
    assert status == 1 and "answers root alone" in found["bus"]["Text"] and found["apmigd"]["Verdict"] == "ok"
    assert run("unlock", lock["Id"])[0] == 0
    assert run("list", "--json=short") == (0, "[]\n")


def test_apmigctl_on_a_bus_that_hangs(own, bus, ctl):
    """It lets root connect and says no more: he does not wait for an answer as long as for one of apmigd's, which is 10 s."""
    bus.process.send_signal(rig.signal.SIGSTOP)
    try:
        begin = time.monotonic()
        status, out, err = ctl("list", "--json=short")
        assert time.monotonic() - begin < 10
        assert (status, out) == (0, "[]\n") and "the system bus does not answer; apmigd is asked over its private" in err
    finally:
        bus.process.send_signal(rig.signal.SIGCONT)


def read_until(watch, word):
    line = watch.stdout.readline()
    while word not in line:
        assert line
        line = watch.stdout.readline()


def test_watch_without_a_bus(own, bus, root, connect):
    """Signals come over the private socket as well, and its end is that of apmigd."""
    bus.end()
    watch = root.run(rig.APMIGCTL, "watch")
    private = connect()
    lock = private.take("04.*")
    read_until(watch, "held")
    private.release(lock)
    read_until(watch, "ended")
    own.stop()
    out, _ = watch.communicate(timeout=LIMIT)
    assert watch.returncode == 32 and "what began meanwhile was not seen" in out


def test_watch_is_asking_when_apmigd_ends(own, bus, root, connect):
    """What is not answered any more ends a connection otherwise than in peace: it is told in the same words."""
    bus.end()
    watch = root.run(rig.APMIGCTL, "watch")
    private = connect()
    lock = private.take("04.*")
    read_until(watch, "held")
    watch.send_signal(rig.signal.SIGSTOP)
    private.release(lock)
    own.process.send_signal(rig.signal.SIGSTOP)
    watch.send_signal(rig.signal.SIGCONT)
    time.sleep(1)  # nothing tells that a question lies unread
    own.kill()
    out, _ = watch.communicate(timeout=LIMIT)
    assert watch.returncode == 32 and "what began meanwhile was not seen" in out


def test_others_need_the_bus(own, bus, nobody, ctl):
    bus.end()
    status, out, err = ctl("list", client=nobody)
    assert status == 13 and out == "" and "cannot be reached" in err and "answers root alone" in err


def test_apmigctl_without_bus_and_apmigd(daemon, bus, ctl):
    bus.end()
    status, _, err = ctl("list")
    assert status == 13 and "private socket: systemctl start apmigd" in err


def test_start_on_a_bus_that_hangs(daemon, hypervisor, connect, bus):
    bus.process.send_signal(rig.signal.SIGSTOP)
    try:
        daemon.start()
        assert connect().locks() == []
        assert "the system bus does not answer" in daemon.read_log()
    finally:
        bus.process.send_signal(rig.signal.SIGCONT)
    until(bus.has_name, "the name")
