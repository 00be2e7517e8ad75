# SPDX-License-Identifier: LGPL-2.1-or-later
"""What apmigd asks its helper apmigd-fence for, and what it makes of the answers. The helper here is a fake, which
answers as it is told to: there is no VFIO device on a private bus. The real one has its own tests."""
import os
import socket
import struct
import threading

import pytest
from rig import domain, until, uuid_of

G1 = uuid_of(1)
DEVICE = "a1b2c3d4-f1bb-47f0-914d-000000000101"
PID, START = 4711, 123456


# The structs of daemon/fence/protocol.h, and what their numbers stand for.
VERSION, REQUEST_MAGIC, REPLY_MAGIC = 3, 0x61706d71, 0x61706d72
REQUEST, REPLY = struct.Struct("=5IiQ40s40s256s"), struct.Struct("=8IiiqQ1024s")
REQUEST_FIELDS = ("magic", "version", "verb", "direction", "reserved", "pid", "start_time", "uuid", "device", "name")
VERBS, DIRECTIONS = ("inspect", "fence", "kill-incoming", "look"), ("out", "in")
DRIVERS = ("unknown", "vfio-ap", "other")
RESULTS = ("done", "nothing-to-do", "not-abortable", "refused", "failed", "unavailable")
STATES = ("ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P", "UNKNOWN")


def request_of(packet):
    request = dict(zip(REQUEST_FIELDS, REQUEST.unpack(packet)))
    assert (request["magic"], request["version"]) == (REQUEST_MAGIC, VERSION)
    request.update(verb=VERBS[request["verb"]], direction=DIRECTIONS[request["direction"]])
    return request | {name: request[name].rstrip(b"\0").decode() for name in ("uuid", "device", "name")}


def reply_packet(result="done", before="RESUMING", after="RESUMING", held_data=1, driver="other", frozen_usec=0, pid=PID,
                 message="As told.", version=VERSION, surplus=b""):
    return REPLY.pack(REPLY_MAGIC, version, RESULTS.index(result), STATES.index(before), STATES.index(after), held_data,
                      DRIVERS.index(driver), 0, 0, pid, frozen_usec, START, message.encode()) + surplus


class FakeFence:
    """One packet there, one back, as apmigd-fence does it."""

    def __init__(self, path):
        self.asked, self.replies = [], {}
        self.hold = lambda request: None  # called before a request is answered; others are answered meanwhile
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            request = request_of(connection.recv(REQUEST.size + 1))
            self.asked.append(request)
            self.hold(request)
            connection.send(reply_packet(**self.replies.get(request["verb"], {})))

    def requests(self, kind):
        return [request for request in self.asked if request["verb"] == kind]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


@pytest.fixture
def fence(folder):
    fake = FakeFence(folder / "fence")
    yield fake
    fake.close()


@pytest.fixture
def quick(daemon, hypervisor):
    daemon.policy(steps=[{"step": "libvirt-abort", "deadline-usec": 1000000},
                         {"step": "vfio-state", "deadline-usec": 300000},
                         {"step": "kill-incoming", "deadline-usec": 1000000}])
    return daemon.start()


def come_in(hypervisor, root, device=DEVICE):
    """A guest that was let in and is there, paused."""
    assert root.admit(domain(device=device)) == (True, "")
    hypervisor.guest(G1, name="g1", affected="yes", scope="all", job="incoming")
    hypervisor.hint(uuid=G1)
    until(lambda: [m["phase"] for m in root.migrations()] == ["incoming"], "the guest")
    return root.migrations()[0]["path"]


def leave(hypervisor, **members):
    hypervisor.guest(G1, name="g1", affected="yes", scope="all", devices=[DEVICE], job="outgoing", **members)


def outcomes(root, migration):
    return [(step, outcome) for step, outcome, _, _ in root.migration(migration)["Steps"]]


def test_incoming_is_fenced_and_then_killed(quick, fence, hypervisor, root):
    fence.replies["fence"] = {"after": "STOP"}
    fence.replies["kill-incoming"] = {"before": "UNKNOWN", "after": "UNKNOWN", "frozen_usec": 2500}
    migration = come_in(hypervisor, root)
    taking = root.start_take()
    until(lambda: outcomes(root, migration)[:2] == [("vfio-state", "requested"), ("kill-incoming", "requested")], "the kill")
    inspected, fenced, killed = fence.requests("inspect"), fence.requests("fence"), fence.requests("kill-incoming")
    assert (inspected[0]["pid"], inspected[0]["name"], inspected[0]["device"]) == (0, "g1", DEVICE)
    for request in (fenced[0], killed[0]):
        assert (request["uuid"], request["pid"], request["start_time"], request["direction"]) == (G1, PID, START, "in")
    hypervisor.do("remove", uuid=G1, stopped="failed")
    lock = taking.answer()[0]
    ended = root.migration(migration)
    assert root.lock(lock)["State"] == "held" and ended["Result"] == "aborted"
    assert "RESUMING -> STOP: As told." in ended["Steps"][0][3] and "frozen for 3 ms" in ended["Steps"][1][3]
    assert hypervisor.calls("step") == []  # libvirt's abort is the source's


def test_incoming_on_vfio_ap_is_killed_at_once(daemon, fence, hypervisor, root):
    """The state ends nothing there, and is not touched; the deadline of a step that is none is not waited for."""
    daemon.policy(steps=[{"step": "vfio-state", "deadline-usec": 60000000}, {"step": "kill-incoming", "deadline-usec": 1000000}])
    daemon.start()
    fence.replies["inspect"] = {"driver": "vfio-ap"}
    migration = come_in(hypervisor, root)
    taking = root.start_take()
    until(lambda: outcomes(root, migration)[:2] == [("vfio-state", "nothing-to-do"), ("kill-incoming", "requested")], "the kill")
    assert fence.requests("fence") == []
    hypervisor.do("remove", uuid=G1, stopped="failed")
    taking.answer()
    assert "keeps its data session open" in root.migration(migration)["Steps"][0][3]


def test_nobody_is_killed_before_libvirt_was_asked_about_him(daemon, fence, hypervisor, root):
    """A restore's QEMU looks like that of a guest that comes in. The helper looks first, and libvirt is asked after that."""
    daemon.policy(steps=[{"step": "kill-incoming", "deadline-usec": 1000000}])
    daemon.start()
    fence.replies["inspect"] = {"driver": "vfio-ap"}
    asked = []
    fence.hold = lambda request: asked.append((request["verb"], len(hypervisor.calls("query", G1))))
    come_in(hypervisor, root)
    taking = root.start_take()
    until(lambda: len(asked) > 1, "kill-incoming")
    assert [verb for verb, _ in asked[:2]] == ["inspect", "kill-incoming"] and asked[0][1] < asked[1][1]
    hypervisor.do("remove", uuid=G1, stopped="failed")
    taking.answer()


def test_incoming_is_left_alone_when_waiting_was_asked_for(quick, fence, hypervisor, root):
    come_in(hypervisor, root)
    taking = root.start_take(options={"on-busy": "wait", "timeout-usec": 1500000})
    assert taking.error().short == "Timeout"
    assert fence.asked == []


def test_incoming_without_a_device_is_waited_for(quick, fence, hypervisor, root):
    """Declared in metadata: there is nothing that could be fenced."""
    come_in(hypervisor, root, device=None)
    assert root.start_take(options={"timeout-usec": 1000000}).error().short == "Timeout"
    assert fence.asked == []


def test_past_the_point_of_no_return(quick, fence, hypervisor, root):
    fence.replies["fence"] = {"result": "not-abortable", "held_data": 0}
    fence.replies["kill-incoming"] = {"result": "not-abortable", "held_data": 0, "message": "The load is complete."}
    migration = come_in(hypervisor, root)
    taking = root.start_take()
    until(lambda: ("kill-incoming", "not-abortable") in outcomes(root, migration), "the answer")
    asked = len(fence.asked)
    hypervisor.guest(G1, job="none")  # it has arrived
    taking.answer()
    assert root.migration(migration)["Result"] == "completed" and len(fence.asked) == asked


def test_outgoing_has_both_steps_at_once(quick, fence, hypervisor, root):
    fence.replies["fence"] = {"result": "nothing-to-do", "before": "RUNNING", "after": "RUNNING"}
    leave(hypervisor, step="nothing")
    taking = root.start_take()
    until(lambda: fence.requests("fence") and hypervisor.calls("step"), "both steps")
    assert fence.requests("fence")[0]["direction"] == "out" and fence.requests("kill-incoming") == []
    hypervisor.guest(G1, job="none")
    lock = taking.answer()[0]
    assert root.lock(lock)["State"] == "held"


def test_without_the_helper_the_rest_goes_on(quick, hypervisor, root):
    leave(hypervisor, step="nothing")
    root.start_take()
    until(lambda: hypervisor.calls("step", G1), "libvirt's abort")
    migration = root.migrations()[0]["path"]
    until(lambda: ("vfio-state", "unavailable") in outcomes(root, migration), "the answer")
    assert ("libvirt-abort", "requested") in outcomes(root, migration)


def test_another_process_is_asked_for_anew(quick, fence, hypervisor, root):
    fence.replies["fence"] = {"result": "refused", "message": "The process was started at another time."}
    come_in(hypervisor, root)
    root.start_take()
    until(lambda: len(fence.requests("fence")) > 1, "another try")
    assert len(fence.requests("inspect")) == len(fence.requests("fence"))


@pytest.mark.parametrize("reply", [{"version": 4}, {"result": "unavailable"}, {"pid": -1}, {"surplus": b"x"}])
def test_an_answer_that_cannot_be_understood_is_a_failure(quick, fence, hypervisor, root, reply):
    fence.replies["inspect"] = fence.replies["fence"] = reply
    migration = come_in(hypervisor, root)
    root.start_take()
    until(lambda: ("vfio-state", "failed") in outcomes(root, migration), "the failure")


def test_guest_that_does_not_answer_is_looked_at(daemon, fence, hypervisor, root):
    """Its device is being saved, for another host or into a file: held is not proven, and nothing is done to it."""
    daemon.start()
    fence.replies["look"] = {"result": "nothing-to-do", "before": "UNKNOWN", "after": "UNKNOWN", "held_data": 0}
    hypervisor.start_guest(G1, name="g1", affected="yes", scope="all", devices=[DEVICE])
    lock = root.take()
    root.wait_for_state(lock, "held")
    assert fence.asked == []
    hypervisor.guest(G1, query_ms=-1)
    hypervisor.hint(uuid=G1)
    until(lambda: fence.requests("look"), "a look")
    request = fence.requests("look")[0]
    assert (request["pid"], request["name"], request["device"], request["direction"]) == (0, "g1", DEVICE, "out")
    assert root.lock(lock)["State"] == "held"
    fence.replies["look"] = {"before": "UNKNOWN", "after": "UNKNOWN"}
    assert "the device of guest 'g1' is being saved" in root.wait_for_state(lock, "unproven")["Unproven"]
    assert len(fence.requests("look")) == len(fence.asked) and not hypervisor.calls("step")
