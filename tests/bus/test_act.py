# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigd-act as it is shipped, between the shipped apmigd and a real libvirtd: what is written, and what is said when it is not
there."""
import os
import pwd
import socket
import subprocess

import libvirtd
import pytest
import rig
from rig import LIMIT, MANAGER, ROOT_PATH, domain, until, uuid_of

pytestmark = pytest.mark.skipif(not libvirtd.program, reason="there is no libvirtd on this machine")

REMEDY = "systemctl enable --now apmigd-act.socket"
STAMP = "urn:apmigd:stamp:1"


@pytest.fixture
def server(folder):
    server = libvirtd.Libvirtd(folder).start()
    yield server
    server.end()


@pytest.fixture
def act(bus, folder, server):
    """Not started yet."""
    act = rig.Act(bus, folder, server.uri)
    yield act
    act.stop()


@pytest.fixture
def apmigd(bus, folder, server):
    """With a guest that declares keys, and one without: they live as long as somebody is connected."""
    daemon = rig.Daemon(bus, folder, rig.APMIGD, server.uri).start()
    until(lambda: "connected to" in daemon.read_log(), "libvirt")
    for number, (name, scope) in enumerate({"keys": "04.0012", "plain": None}.items(), 1):
        (folder / f"{name}.xml").write_text(domain(name, uuid_of(number), scope).replace("type='kvm'", "type='test'"))
        assert server.virsh("create", folder / f"{name}.xml").returncode == 0
    yield daemon
    daemon.close()
    print(daemon.read_log())


def stamp_of(server, guest):
    return server.virsh("metadata", guest, STAMP, "--live").stdout.strip()


def unstamp(root, guest=""):
    return root.start(ROOT_PATH, MANAGER, "RemoveStamps", "s", guest)


def verdict(root, lock):
    return root.call(lock, rig.LOCK, "Check", "a{sv}", "0")[0]


def test_stamps_are_written_by_it(act, apmigd, server, root):
    act.start()
    lock = root.take()
    until(lambda: lock[-8:] in stamp_of(server, "keys"), "the stamp of a guest under the lock")
    assert stamp_of(server, "plain") == ""
    assert unstamp(root, "keys").answer()[0] == 1 and stamp_of(server, "keys") == ""
    log = act.log.read_text()
    assert f"write-stamp of guest keys ({uuid_of(1)}), asked for by the user 0: done: the stamp is written" in log
    assert f"remove-stamp of guest keys ({uuid_of(1)}), asked for by the user 0: done" in log


def test_not_there(act, apmigd, server, root):
    """No step could be made, no stamp is written: each says so, with the remedy; and the lock holds."""
    lock = root.take()
    until(lambda: not verdict(root, lock)["ready"], "it to be missed")
    reason = verdict(root, lock)["reason"]
    assert reason.startswith("a migration that began now could not be ended: nobody listens at ") and REMEDY in reason
    assert root.lock(lock)["State"] == "held"
    until(lambda: "the stamp of guest keys" in apmigd.read_log(), "the stamp to be missed")
    assert REMEDY in next(line for line in apmigd.read_log().splitlines() if "the stamp of guest keys" in line)
    assert server.virsh("metadata", "keys", STAMP, "--live", "--key", "a", "--set", "<stamp/>").returncode == 0
    error = unstamp(root, "keys").error()
    assert error.short == "HypervisorUnavailable" and REMEDY in error.message
    act.start()
    until(lambda: verdict(root, lock)["ready"], "it to be found")
    act.stop()
    until(lambda: not verdict(root, lock)["ready"], "it to be missed again")


def ask_as(user, path):
    """What happens to a user who has got hold of the socket."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setuid(user)
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.settimeout(LIMIT)
        try:
            peer.connect(str(path))
            peer.send(b"?")
            os._exit(1 if peer.recv(10) else 0)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_another_user(act):
    act.start()
    act.socket.chmod(0o666)
    stranger = pwd.getpwnam(rig.NOBODY).pw_uid
    assert ask_as(stranger, act.socket) == 0
    until(lambda: f"the user {stranger} may not ask for anything" in act.log.read_text(), "the log")
    assert ask_as(0, act.socket) == 1  # root is answered


def test_ends_when_nobody_is_connected(act, folder):
    """As systemd starts it: with the socket, and for as long as it is needed."""
    with open(act.log, "ab") as log:
        started = act.bus.start("systemd-socket-activate", "--seqpacket", f"--listen={act.socket}",
                                *act.command("--idle", "1"), stdout=log, stderr=log)
    until(act.is_there, "the socket")
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(LIMIT)
    peer.connect(str(act.socket))
    peer.send(b"?")
    assert b"cannot be understood" in peer.recv(4096)
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(2)
    peer.close()
    assert started.wait(LIMIT) == 0, act.log.read_text()
