# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests that are moved by unplugging, under a lock."""
from rig import until, uuid_of

G1 = uuid_of(1)
D1 = "a1b2c3d4-f1bb-47f0-914d-000000000101"


def plug(hypervisor, **members):
    """Has the guest's devices be others, and waits until the daemon has asked for them."""
    hypervisor.calls(clear=True)
    hypervisor.guest(G1, **members)
    hypervisor.do("changed", uuid=G1, change="plugged")
    until(lambda: any(call["facts"] for call in hypervisor.calls("query", G1)), "the question for its devices")


def test_device_taken_away_and_given_back(running, hypervisor, root):
    """Without its device it may not leave; and that it has it again is told, not undone."""
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", devices=[D1])
    lock = root.take("04.*")
    plug(hypervisor, affected="no", devices=[])
    assert root.lock(lock)["State"] == "held"
    hypervisor.guest(G1, job="outgoing", step="ends")
    hypervisor.hint(uuid=G1)
    running.wait_for_log("LOCK_BREACHED")
    root.wait_for_state(lock, "held")
    assert "GUEST_REPLUGGED" not in running.read_log()
    plug(hypervisor, affected="yes", devices=[D1])
    running.wait_for_log("GUEST_REPLUGGED: guest g1 was given mediated device " + D1)
    assert root.lock(lock)["State"] == "held"
