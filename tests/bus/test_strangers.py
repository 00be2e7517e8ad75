# SPDX-License-Identifier: LGPL-2.1-or-later
"""Queues that are in use by QEMUs which are not of the libvirt that apmigd sees."""
import pytest
from rig import APMIGCTL, LIMIT, until, uuid_of

D1, D2 = "a1b2c3d4-f1bb-47f0-914d-000000000101", "a1b2c3d4-f1bb-47f0-914d-000000000102"


@pytest.fixture
def host(daemon, hypervisor):
    """The sample host: 02.004f and 0a.004f are in use, and not by its guest."""
    daemon.copy_sysfs()
    hypervisor.initially({"do": "guest", "uuid": uuid_of(1), "name": "g1", "affected": "yes", "scope": "02.0005",
                          "devices": [D1]})
    return daemon.start()


def test_lock_is_not_held_over_a_stranger(host, root):
    error = root.start_take("*.004f", options={"timeout-usec": 2_000_000}).error()
    assert error.short == "Timeout"
    for part in ("02.004f", "0a.004f", D2, "apmigctl queues"):
        assert part in error.message
    assert root.locks() == []
    root.take("*.0005")  # the guest's own are no obstacle


def test_lock_is_held_when_the_stranger_is_gone(host, root):
    lock = root.take("0a.*", options={"no-wait": True})
    until(lambda: "0a.004f" in root.lock(lock)["Waiting"], "the stranger to be found")
    assert root.lock(lock)["State"] == "draining"
    assert "0a.004f (mediated device" in root.run(APMIGCTL, "status").communicate(timeout=LIMIT)[0]
    (host.sysfs / "bus/ap/devices/0a.004f/status").write_text("assigned\n")
    assert root.wait_for_state(lock, "held")["Waiting"] == ""
