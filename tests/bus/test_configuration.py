# SPDX-License-Identifier: LGPL-2.1-or-later
"""What apmigd tells of changes of the AP configuration while it has to stay, on the sample host."""
import os
import re
import threading

import pytest
from rig import domain, until, uuid_of

G1 = uuid_of(1)
D1, D2 = "a1b2c3d4-f1bb-47f0-914d-000000000101", "a1b2c3d4-f1bb-47f0-914d-000000000102"


@pytest.fixture
def machine(daemon, hypervisor):
    """apmigd for the sample host with its one guest, not started yet."""
    daemon.copy_sysfs()
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "scope": "02.0005,02.002c,05.0005,05.002c",
                          "devices": [D1]})
    return daemon


@pytest.fixture
def host(machine):
    return machine.start()


def read_again(root):
    """Has the host's hardware read, after every reading that was asked for before."""
    root.keys("02.0004", fresh=True)


def deconfigure(host, card="05"):
    (host.sysfs / f"bus/ap/devices/card{card}/config").write_text("0\n")


def test_change_under_a_lock_is_told_at_its_release(host, root, bus):
    """There is no event for it, so the release is when it is seen."""
    monitor = bus.monitor()
    lock = root.take("05.*")
    read_again(root)
    deconfigure(host)
    root.release(lock)
    scope, message = monitor.wait_for("ConfigurationChanged")
    lock_id = lock.rsplit("/", 1)[1]
    assert scope == "05.0004-0005,05.002c,05.004f"
    assert message.startswith(f"The AP configuration changes under lock {lock_id}: AP queue 05.0004 was configured and is "
                              "deconfigured; AP queue 05.0005 was configured")
    assert f"CONFIG_CHANGED: {message}" in host.read_log()


@pytest.mark.parametrize("options, policy", [({"force": True}, {}), ({}, {"on_release": "trust"})])
def test_release_without_verification_looks_too(machine, root, bus, options, policy):
    machine.policy(**policy)
    machine.start()
    monitor = bus.monitor()
    lock = root.take("05.*")
    read_again(root)
    deconfigure(machine)
    root.release(lock, options)
    assert "is deconfigured" in monitor.wait_for("ConfigurationChanged")[1]


def test_change_is_nobodys_concern(host, root):
    """Before a lock, in other queues, and after it."""
    deconfigure(host, "02")
    lock = root.take("05.*")
    read_again(root)
    deconfigure(host, "0a")
    read_again(root)
    root.release(lock)
    deconfigure(host, "05")
    read_again(root)
    assert "CONFIG_CHANGED" not in host.read_log()


def test_lock_of_an_earlier_run(host, root):
    """It was held before the restart, so what changes after it is told, if not what changed meanwhile."""
    root.take("05.*")
    host.restart()
    root.wait_for_lock(state="held")
    read_again(root)
    deconfigure(host)
    read_again(root)
    host.wait_for_log("CONFIG_CHANGED")


@pytest.mark.parametrize("policy, told, locked", [("warn", True, False), ("lock", True, True), ("ignore", False, False)])
def test_change_while_a_guest_comes_in(machine, root, bus, policy, told, locked):
    machine.policy(on_config_change=policy)
    machine.start()
    monitor = bus.monitor()
    assert root.admit(domain(uuid=uuid_of(7), name="g7", scope="05.0005"), guest="g7")[0]
    read_again(root)
    (machine.sysfs / "bus/mdev/devices" / D2 / "ap_config").write_text(",".join(["0x" + "0" * 64] * 3) + "\n")
    deconfigure(machine)
    read_again(root)
    if locked:
        lock = root.wait_for_lock(scope="05.0005")
        assert "while guest g7 migrates in" in lock["reason"]
        assert root.lock(lock["path"])["Origin"] == "itself"
    else:
        assert root.locks() == []
    if told:
        scope, message = monitor.wait_for("ConfigurationChanged")
        assert scope == "05.0005" and "while guest g7 migrates in" in message
    assert ("CONFIG_CHANGED" in machine.read_log()) is told


def say(path, *words):
    """Has the file at @path say each of @words to one reader, and the last one to all that come. Returns: the thread."""
    def put(index):
        new = path.with_name(path.name + ".new")
        if index + 1 < len(words):
            os.mkfifo(new)
        else:
            new.write_text(f"{words[index]}\n")
        new.replace(path)

    def serve():
        for index, word in enumerate(words[:-1]):
            with path.open("w") as reader:  # waits for one, which alone has this file
                put(index + 1)
                reader.write(f"{word}\n")

    put(0)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("words, told", [("01", False), ("001", True), ("01010", True)], ids=["once", "twice", "to-and-fro"])
def test_change_counts_when_two_readings_agree(host, root, bus, words, told):
    """One reading is asked for; those that are needed besides come by themselves, and may find that it is as it was."""
    monitor = bus.monitor()
    root.take("05.*")
    read_again(root)
    served = say(host.sysfs / "bus/ap/devices/card05/config", *words)
    read_again(root)
    served.join(timeout=10)
    assert not served.is_alive()
    if told:
        assert "was configured and is deconfigured" in monitor.wait_for("ConfigurationChanged")[1]
    else:
        read_again(root)
        read_again(root)
    assert len(re.findall("CONFIG_CHANGED: .* 05.0004 was configured and is deconf", host.read_log())) == (1 if told else 0)


def test_second_reading_fails(host, root, bus):
    """It hides nothing: there are more, and what was so before is what they are compared with."""
    monitor = bus.monitor()
    root.take("05.*")
    read_again(root)
    say(host.sysfs / "bus/ap/devices/card05/config", "0", "nonsense", "0")
    read_again(root)
    assert "was configured and is deconfigured" in monitor.wait_for("ConfigurationChanged")[1]


def config(*masks):
    return ",".join(f"0x{mask:064x}" for mask in masks) + "\n"


def test_failed_load_leaves_something_in_the_device(machine, hypervisor, root, ctl):
    """What the guest brought stays when its migration has failed. It is told, until somebody has mended it."""
    device = machine.sysfs / "bus/mdev/devices" / D2 / "ap_config"
    device.write_text(config(0, 0, 0))
    machine.start()
    assert root.admit(domain(uuid=uuid_of(7), name="g7", device=D2), guest="g7")[0]
    read_again(root)
    hypervisor.guest(uuid_of(7), name="g7", affected="yes", scope="all", job="incoming")
    hypervisor.hint(uuid=uuid_of(7))
    until(lambda: [m["phase"] for m in root.migrations()] == ["incoming"], "the guest")
    device.write_text(config(1 << 251, 1 << 237, 0))
    hypervisor.do("remove", uuid=uuid_of(7), stopped="failed")
    message = f"Mediated device {D2} has kept what guest g7 brought, whose migration has failed: it has adapters 04, " \
              "domains 0012, and had nothing."
    machine.wait_for_log(f"CONFIG_CHANGED: {message}")
    assert message in root.manager()["DeviceTrouble"]
    assert f"mdevctl start --uuid {D2}" in root.manager()["DeviceTrouble"]
    assert message in ctl("doctor", "--json=short")[1]
    device.write_text(config(0, 0, 0))
    until(lambda: root.manager()["DeviceTrouble"] == "", "the device to be mended")
    assert machine.read_log().count("has kept what") == 1
