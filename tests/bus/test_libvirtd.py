# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped daemon with a real libvirtd behind a socket, which ends, or hangs."""
import os
import signal

import libvirtd
import proc
import pytest
import rig
from rig import until

pytestmark = pytest.mark.skipif(not libvirtd.program, reason="there is no libvirtd on this machine")


@pytest.fixture
def server(folder):
    server = libvirtd.Libvirtd(folder).start()
    yield server
    server.end()


@pytest.fixture
def act(bus, folder, server):
    act = rig.Act(bus, folder, server.uri).start()
    yield act
    act.stop()
    print(act.log.read_text())


@pytest.fixture
def apmigd(bus, folder, server, act):
    daemon = rig.Daemon(bus, folder, rig.APMIGD, server.uri).start()
    until(lambda: "connected to" in daemon.read_log(), "libvirt")
    yield daemon
    daemon.close()
    print(daemon.read_log())


def libvirt_threads(program):
    """Of a daemon, or of apmigd-act."""
    names = [name.strip() for name in proc.read_all(f"/proc/{program.process.pid}/task/*/comm").values()]
    return sorted(name for name in names if name in ("act-step", "act-stamp") or name.startswith("libvirt-"))


def is_seen(root):
    return root.manager()["HypervisorState"] == "complete"


def test_few_threads_and_connections(apmigd, act, server, root):
    """Each thread has its own: the view two of them, the heartbeat and stamps one each; and events have one. Of apmigd-act
    one is ready for steps."""
    server.add_guests(20)
    lock = root.take()
    assert root.lock(lock)["State"] == "held"
    threads = libvirt_threads(apmigd)
    assert threads.count("libvirt-view") <= 2 and len(threads) <= 5
    until(lambda: libvirt_threads(act) == ["act-step"], "one that is ready")
    until(lambda: server.n_clients() == len(libvirt_threads(apmigd)) + 2, "a connection for each")


def test_libvirtd_that_comes_back(apmigd, server, root):
    lock = root.take()
    server.end()
    until(lambda: root.manager()["HypervisorState"] == "disconnected", "the end of libvirtd to be seen")
    server.start()
    until(lambda: is_seen(root), "libvirtd to be seen")
    assert root.lock(lock)["State"] == "held"
    assert server.n_clients() <= 6


def test_end_while_libvirtd_hangs(apmigd, server, root):
    """Nothing waits for it: neither those who ask for something else, nor the end."""
    lock = root.take()
    os.kill(server.pid, signal.SIGSTOP)
    call = root.start(rig.ROOT_PATH, rig.MANAGER, "CheckGuest", "s", "test")
    until(lambda: "libvirt-request" in libvirt_threads(apmigd), "a call that hangs")
    root.release(lock)
    apmigd.stop()
    call.kill()
