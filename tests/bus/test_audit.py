# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the journal has of locks and migrations, and of who asked for what."""
import os
import pathlib
import re
import socket
import time

import pytest
import rig
import wire
from fake_bus import FakeBus
from journal import IDS
from private import Private
from rig import BusError, domain, uuid_of

G1 = uuid_of(1)


def lock_id(path):
    return path.rpartition("/")[2]


def test_lock_and_change_are_on_every_line(journaled, journal, hypervisor, root):
    """Of the lock itself, of the migrations that it ends, and of the guests that it refuses."""
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", job="outgoing", step_ms=50)
    lock = root.take("04.*", options={"change-id": "CHG1"})
    assert root.admit(domain("g2", uuid_of(2)), "g2")[0] is False
    hypervisor.do("lose", reason="libvirtd was stopped")
    root.release(lock)
    journal.wait_for(MESSAGE_ID=IDS["LOCK_ENDED"])
    for name in ("REQUEST_MADE", "LOCK_REQUESTED", "MIGRATION_SEEN", "STEP_STARTED", "STEP_FINISHED", "MIGRATION_ENDED",
                 "LOCK_HELD", "ADMISSION_DENIED", "VIEW_LOST", "LOCK_ENDED"):
        entries = journal.find(MESSAGE_ID=IDS[name])
        assert entries, name
        assert all((e.get("LOCK_ID"), e.get("CHANGE_ID")) == (lock_id(lock), "CHG1") for e in entries), name
    assert journal.find(MESSAGE_ID=IDS["MIGRATION_ENDED"])[0]["RESULT"] == "aborted"
    assert journal.find(MESSAGE_ID=IDS["LOCK_ENDED"])[0]["RESULT"] == "released"
    assert journal.find(MESSAGE_ID=IDS["ADMISSION_DENIED"])[0]["GUEST"] == "g2"


def test_migration_under_two_locks_is_of_both(journaled, journal, hypervisor, root):
    first = root.take("04.0012", options={"change-id": "CHG1"})
    second = root.take("05.0012", options={"change-id": "CHG2"})
    hypervisor.guest(G1, name="g1", affected="yes", scope="04-05.0012", job="outgoing", step="nothing")
    hypervisor.hint(uuid=G1)
    journal.wait_for(MESSAGE_ID=IDS["MIGRATION_SEEN"])
    seen = next(entry for entry in journal.entries if ("MESSAGE_ID", IDS["MIGRATION_SEEN"]) in entry)
    assert [field for field in seen if field[0] in ("LOCK_ID", "CHANGE_ID")] == [
        ("LOCK_ID", lock_id(first)), ("CHANGE_ID", "CHG1"), ("LOCK_ID", lock_id(second)), ("CHANGE_ID", "CHG2")]


def check_caller(entry, uid):
    """The kernel knows a login and systemd a unit only where there is audit, and systemd."""
    assert entry["CALLER_UID"] == str(uid) and int(entry["CALLER_PID"]) > 1
    login = pathlib.Path("/proc/self/loginuid")
    if login.exists() and login.read_text() not in ("4294967295", "0"):
        assert entry["CALLER_LOGIN_UID"] == login.read_text()


def test_who_asks_is_recorded(journaled, journal, bus, root, nobody):
    bus.start_polkit({"*": "yes"})
    lock = nobody.take("04.*", "AES rotation", {"change-id": "CHG1"})
    take = journal.wait_for(REQUEST="take")
    check_caller(take, 65534)
    assert (take["MESSAGE_ID"], take["LOCK_ID"], take["CHANGE_ID"]) == (IDS["REQUEST_MADE"], lock_id(lock), "CHG1")
    root.release(lock, {"force": True})
    release = journal.wait_for(REQUEST="force-release")
    check_caller(release, 0)
    assert (release["MESSAGE_ID"], release["LOCK_ID"], release["CHANGE_ID"]) == (
        IDS["REQUEST_MADE"], lock_id(lock), "CHG1")
    root.call("/org/apmigd1", "org.apmigd1.Manager", "RemoveStamps", "s", "")
    check_caller(journal.wait_for(REQUEST="unstamp"), 0)
    root.admit(domain())
    assert {entry["REQUEST"] for entry in journal.find() if "REQUEST" in entry} == {"take", "force-release", "unstamp"}


@pytest.fixture
def fake_bus(daemon, folder):
    """Makes apmigd speak to a fake of a bus, with the caller (pid, pidfd)."""
    made = []

    def start(pid, pidfd):
        daemon.stop()
        made.append(FakeBus(folder / f"fake-{len(made)}", pid, pidfd))
        daemon.start(DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={folder}/fake-{len(made) - 1}")
        return made[-1]

    yield start
    for one in made:
        one.close()


def take_as(fake, journal, scope):
    """As the caller on that bus. Returns: what the journal has of it."""
    fake.call("TakeLock", wire.take_lock(scope), "ssa{sv}", rig.LIMIT)
    made = rig.until(lambda: [entry for entry in journal.find(REQUEST="take") if scope in entry["MESSAGE"]], "the entry")
    assert (made[0]["CALLER_UID"], made[0]["CALLER_PID"]) == ("0", str(fake.pid))
    return made[0]


def test_process_that_a_fake_bus_vouches_for(journaled, journal, fake_bus, bus):
    """By ProcessFD, which the bus of Debian 12 does not tell: as long as it names the process of that number."""
    caller, other = (bus.start("sleep", "infinity") for _ in range(2))
    pidfd = os.pidfd_open(caller.pid)
    assert take_as(fake_bus(caller.pid, pidfd), journal, "01.0001")["CALLER_VERIFIED"] == "yes"
    assert take_as(fake_bus(caller.pid, None), journal, "02.0001")["CALLER_VERIFIED"] == "no"
    caller.kill()
    caller.wait(rig.LIMIT)
    for scope, pid in (("03.0001", caller.pid), ("04.0001", other.pid)):  # the number is nobody's; it has become another's
        entry = take_as(fake_bus(pid, pidfd), journal, scope)
        assert entry["CALLER_VERIFIED"] == "no" and not {"CALLER_LOGIN_UID", "CALLER_UNIT"} & set(entry)
    os.close(pidfd)


def test_process_at_the_private_socket(journaled, journal):
    """There it is the kernel's to say, from Linux 6.5 on."""
    private = Private(journaled)
    private.take("04.*")
    pair = socket.socketpair()
    try:
        os.close(pair[0].getsockopt(socket.SOL_SOCKET, 77))  # SO_PEERPIDFD
        expected = "yes"
    except OSError:
        expected = "no"
    entry = journal.wait_for(REQUEST="take")
    check_caller(entry, 0)
    assert (entry["CALLER_PID"], entry["CALLER_VERIFIED"]) == (str(os.getpid()), expected)
    private.close()
    for one in pair:
        one.close()


def test_declaration_is_of_the_lock(journaled, journal, root):
    journaled.stop()
    journaled.copy_sysfs()
    journaled.end_strangers()
    journaled.start()
    lock = root.take("*.002c", options={"change-id": "CHG1"})
    root.release(lock, {"declare-mkvp": {"02.002c AES": "0x0123456789abcdef"}})
    assert journal.wait_for(REQUEST="declare")["CHANGE_ID"] == "CHG1"
    declared = journal.wait_for(MESSAGE_ID=IDS["KEYS_DECLARED"])
    assert (declared["LOCK_ID"], declared["CHANGE_ID"]) == (lock_id(lock), "CHG1")


def test_declaration_without_a_lock(journaled, journal, bus, root, nobody):
    journaled.stop()
    journaled.copy_sysfs()
    journaled.start()
    polkit = bus.start_polkit()
    nobody.declare({"02.002c AES": "0x0123456789abcdef"}, {"class": "attested", "change-id": "CHG1"})
    asked = journal.wait_for(MESSAGE_ID=IDS["REQUEST_MADE"], REQUEST="declare")
    check_caller(asked, 65534)
    assert asked["CHANGE_ID"] == "CHG1" and asked["MESSAGE"].endswith("master keys of AP queues 02.002c (attested)")
    said = journal.wait_for(MESSAGE_ID=IDS["KEYS_DECLARED"])
    assert said["CHANGE_ID"] == "CHG1" and "LOCK_ID" not in said
    assert said["MESSAGE"].startswith("nobody (uid 65534)") and said["MESSAGE"].endswith("0x0123456789abcdef (attested)")
    polkit.answers({"*": "no"})
    nobody.start_declare({"02.002c AES": "0xfedcba9876543210"}).error()
    assert "declare-keys" in journal.wait_for(MESSAGE_ID=IDS["REQUEST_REFUSED"], REQUEST="declare")["MESSAGE"]


def test_what_is_refused_is_recorded(journaled, journal, bus, root, nobody):
    bus.start_polkit({"*": "no"})
    with pytest.raises(BusError):
        nobody.take("04.*", "AES", {"change-id": "CHG1"})
    refused = journal.wait_for(MESSAGE_ID=IDS["REQUEST_REFUSED"])
    check_caller(refused, 65534)
    assert (refused["REQUEST"], refused["CHANGE_ID"]) == ("take", "CHG1") and "take-lock" in refused["MESSAGE"]
    lock = root.take("04.*", options={"change-id": "CHG3"})
    nobody.start(lock, rig.LOCK, "Annotate", "sa{sv}", "late", "0").error()
    refused = journal.wait_for(MESSAGE_ID=IDS["REQUEST_REFUSED"], REQUEST="annotate")
    assert (refused["LOCK_ID"], refused["CHANGE_ID"]) == (lock_id(lock), "CHG3")
    with pytest.raises(BusError):
        root.take("04.*", "APKA", {"change-id": "CHG2"})
    assert "AES rotation" in journal.wait_for(CHANGE_ID="CHG2", MESSAGE_ID=IDS["REQUEST_REFUSED"])["MESSAGE"]


def test_refusals_do_not_fill_the_journal(journaled, journal, bus, nobody, root):
    """Anybody may ask; whoever asks too often is counted, and root is not."""
    bus.start_polkit({"*": "no"})
    begin = time.monotonic()
    call = "busctl call org.apmigd1 /org/apmigd1 org.apmigd1.Manager TakeLock 'ssa{sv}' all x 0"
    nobody.run("sh", "-c", f'seq 120 | xargs -P 8 -I % {call}').communicate(timeout=10 * rig.LIMIT)
    windows = 1 + int(time.monotonic() - begin) // 30
    root.take("04.*")
    root.start_take("04.*").error()
    journal.wait_for(MESSAGE_ID=IDS["REQUEST_REFUSED"], CALLER_UID="0")
    refusals = journal.find(MESSAGE_ID=IDS["REQUEST_REFUSED"])
    assert min(100, 120 // windows) <= len(refusals) - 1 <= 100 * windows
    untold = re.findall(r"\((\d+) more were refused", " ".join(refusal["MESSAGE"] for refusal in refusals))
    assert len(refusals) - 1 + sum(map(int, untold)) == 120


def test_what_users_write_is_no_field(journaled, journal, hypervisor, root):
    """Newlines, terminal escapes and names of fields in a guest's name, on every line."""
    hypervisor.guest(G1, name="g\nLOCK_ID=forged\x1b[31m", affected="yes", scope="04.0012", job="outgoing", step_ms=20)
    root.take("04.*", options={"change-id": "C=D"})
    journal.wait_for(MESSAGE_ID=IDS["MIGRATION_ENDED"])
    for entry in journal.entries:
        assert ("LOCK_ID", "forged") not in entry
        assert not any(character < " " for _, value in entry for character in value)
    assert journal.find(MESSAGE_ID=IDS["MIGRATION_ENDED"])[0]["GUEST"].startswith("g\\x0aLOCK_ID=forged\\x1b")
