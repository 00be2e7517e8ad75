# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every error of the contract, provoked; each names its cause, and changes nothing."""
import os
import pathlib
import re
import sys

import pytest
import rig
from rig import ERROR, LOCK, MANAGER, ROOT_PATH, SOURCE, domain, lasting, until, uuid_of

DAY = 24 * 3600 * 1000000

# They need cards: tests/unit/engine/test-release.c provokes them.
OF_CARDS = {"KeyChangeUnfinished", "KeysDiffer"}


def test_every_error_of_the_contract_is_provoked_here():
    """The list in the interface's XML against the words in this file: an error that is new there needs a test here."""
    xml = (SOURCE / "dbus" / "org.apmigd1.xml").read_text()
    listed = xml[xml.index("Errors, all of them"):xml.index("and org.freedesktop.DBus.Error.AccessDenied")]
    names = set(re.findall(r"^    ([A-Z]\w+) ", listed, re.MULTILINE))
    assert len(names) == 18
    tests = open(__file__).read()
    assert {name for name in names if f'"{name}"' not in tests} == set()


@pytest.fixture
def nothing_changes(running, root):
    """Whatever the test provokes, there is no lock, no migration and no file before and after."""
    assert root.locks() == [] and running.lock_files() == []
    yield
    assert root.locks() == [] and root.migrations() == [] and root.manager()["Locked"] is False
    assert running.lock_files() == [] and running.admission_files() == []


@pytest.mark.parametrize("scope, said", [
    ("", "position 1"),
    ("04.0012,zz.0012", "position 9"),
    ("04.0012,", "position 9"),
    ("04", "position 3"),
    ("04.0100", "position 4"),
    ("100.0012", "position 1"),
    ("07-04.0012", "position 1"),
    ("04.0012 ,05.0012", "position 8"),
    ("ALL", "position 2"),
    ("none", "position 1"),
    ("04.0012\n", "position 8"),
    ("04.\u20120012", "position 4"),
    ("all,04.0012", "position 1"),
    ("04.0012," * 1000, "bytes"),
])
def test_invalid_scope(nothing_changes, root, scope, said):
    error = root.start_take(scope).error()
    assert error.short == "InvalidScope"
    assert said in error.message


@pytest.mark.parametrize("reason, said", [
    ("", "is empty"),
    (" \t", "control character at byte 2"),
    ("   ", "is empty"),
    ("x" * 257, "has 257 bytes: give at most 256"),
    ("\u00e4" * 129, "has 258 bytes"),
    ("two\nlines", "control character at byte 4"),
    ("escape \x1b[31m", "control character at byte 8"),
    ("c1 \u009b", "control character"),
    ("separator \u2028", "control character"),
    ("from right \u202eto left", "format character at byte 12"),
    ("not\u200bseen", "format character at byte 4"),
    ("\x7f", "control character at byte 1"),
])
def test_invalid_reason(nothing_changes, root, reason, said):
    """What is no UTF-8 at all cannot even be sent: the bus disconnects who tries."""
    error = root.start_take("all", reason).error()
    assert error.short == "InvalidReason"
    assert said in error.message


def test_longest_reason_is_kept_as_it_is(running, root):
    reason = "\u00e4" * 128
    lock = root.take("all", reason)
    assert root.lock(lock)["Reason"] == reason
    running.restart()
    assert root.lock(lock)["Reason"] == reason


@pytest.mark.parametrize("options, said", [
    ({"on-bussy": "abort"}, 'Unknown option "on-bussy"'),
    ({"": "abort"}, 'Unknown option ""'),
    ({"x" * 1000: True}, "Unknown option"),
    ({"on-busy": "Abort"}, 'is "Abort": give abort, wait or refuse'),
    ({"on-busy": ""}, "give abort, wait or refuse"),
    ({"on-busy": True}, '"on-busy" must be a string (s), not of D-Bus type "b"'),
    ({"timeout-usec": 0}, "give from 1 to"),
    ({"timeout-usec": 30 * DAY + 1}, "give from 1 to"),
    ({"timeout-usec": 2**64 - 1}, "give from 1 to"),
    ({"timeout-usec": ("u", 5)}, 'must be an unsigned 64-bit number (t), not of D-Bus type "u"'),
    ({"timeout-usec": ("x", -1)}, "must be an unsigned 64-bit number"),
    ({"timeout-usec": "5s"}, "must be an unsigned 64-bit number"),
    ({"expected-duration-usec": 0}, "give from 1 to"),
    ({"expected-duration-usec": 3653 * DAY}, "give from 1 to"),
    ({"no-wait": "yes"}, "must be a boolean (b)"),
    ({"no-wait": ("v", "b", "true")}, "must be a boolean (b)"),
    ({"allow-missing-hook": 1}, "must be a boolean (b)"),
    ({"change-id": ""}, "is empty"),
    ({"change-id": "x" * 129}, "has 129 bytes: give at most 128"),
    ({"change-id": "CHG\n1"}, "control character at byte 4"),
    ({"change-id": "CHG\u20661"}, "format character at byte 4"),
    ([("no-wait", True), ("no-wait", False)], "given twice"),
    ({"force": True}, 'Unknown option "force"'),
    ({"no-wait": True, "on-busy": "never"}, "give abort, wait or refuse"),
])
def test_invalid_option(nothing_changes, root, options, said):
    error = root.start_take(options=options).error()
    assert error.short == "InvalidOption"
    assert said in error.message
    assert len(error.message) < 400  # what a caller gave is shown in part only


def test_invalid_option_of_a_release_leaves_the_lock(running, root):
    lock = root.take()
    for options, said in (({"forced": True}, 'Unknown option "forced"'), ({"force": "yes"}, "must be a boolean"),
                          ([("force", False), ("force", True)], "given twice")):
        for call in (root.start_release(lock, options),
                     root.start(lock, LOCK, "Release", "a{sv}", *rig.option_arguments(options))):
            error = call.error()
            assert error.short == "InvalidOption" and said in error.message
    assert root.lock(lock)["State"] == "held"


@pytest.mark.parametrize("arguments", [("s", "all"), ("ssa{ss}", "all", "reason", "0"), ("sssa{sv}", "all", "a", "b", "0")])
def test_a_call_of_another_signature_is_refused(nothing_changes, root, arguments):
    assert root.start(ROOT_PATH, MANAGER, "TakeLock", *arguments).error().name.endswith(".InvalidArgs")


def test_no_such_permit(nothing_changes, root):
    error = root.start(ROOT_PATH, MANAGER, "RevokePermit", "s", "g1").error()
    assert error.short == "NoSuchPermit" and "apmigctl status" in error.message


def test_locked_names_owner_reason_and_time(running, root):
    first = root.take("04.*", "AES rotation of spring")
    lock_id = first.rpartition("/")[2]
    for scope in ("04.0012", "all", "*.0012", "03-05.0000"):
        error = root.start_take(scope).error()
        assert error.short == "Locked"
        for part in (lock_id, "of root", '"AES rotation of spring"', "since 20", f"apmigctl unlock {lock_id}"):
            assert part in error.message
    second = root.take("05.*")
    assert [lock["path"] for lock in root.locks()] == [first, second]
    assert len(running.lock_files()) == 2


def test_busy_names_the_guest_and_touches_nothing(nothing_changes, hypervisor, root):
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", scope="04.0012", job="outgoing")
    error = root.start_take("04.0012", options={"on-busy": "refuse"}).error()
    assert error.short == "Busy"
    assert "guest 'g1' is migrating out" in error.message
    assert hypervisor.calls("step") == []
    hypervisor.guest(uuid_of(1), job="none")
    hypervisor.hint(uuid=uuid_of(1))
    until(lambda: root.migrations() == [], "the end of the migration")


def test_timeout_names_what_was_waited_for(nothing_changes, hypervisor, root):
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing", step="nothing")
    error = root.start_take(options={"timeout-usec": 200000}).error()
    assert error.short == "Timeout"
    assert "guest 'g1' is migrating out" in error.message
    hypervisor.guest(uuid_of(1), job="none")
    hypervisor.hint(uuid=uuid_of(1))
    until(lambda: root.migrations() == [], "the end of the migration")


def test_timeout_of_the_policy_is_the_default(daemon, hypervisor, root):
    daemon.policy(request_timeout_usec=200000)
    daemon.start()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing", step="nothing")
    assert root.start_take().error(5).short == "Timeout"
    assert root.locks() == []


def test_cancelled(nothing_changes, hypervisor, root):
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing", step="nothing")
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")
    root.release(lock["path"])
    assert taking.error().short == "Cancelled"
    hypervisor.guest(uuid_of(1), job="none")
    hypervisor.hint(uuid=uuid_of(1))
    until(lambda: root.migrations() == [], "the end of the migration")


def test_no_such_lock(running, root):
    lock = root.take()
    for path in ("/org/apmigd1/lock/00000000", "/org/apmigd1", "/", "/org/apmigd1/lock/" + "x" * 200, "/org/other/lock/1"):
        error = root.start_release(path).error()
        assert error.short == "NoSuchLock"
        assert "apmigctl list" in error.message and len(error.message) < 300
    assert root.lock(lock)["State"] == "held"
    root.release(lock)
    for call in (root.start_release(lock), root.start(lock, LOCK, "Release", "a{sv}", "0")):
        error = call.error()
        assert error.short == "NoSuchLock" and "has ended already (released)" in error.message


@pytest.mark.parametrize("member, arguments, name, said", [
    ("TakeOver", ("sa{sv}", "", "0"), "InvalidReason", "The reason is empty"),
    ("TakeOver", ("sa{sv}", "x" * 257, "0"), "InvalidReason", "has 257 bytes: give at most 256"),
    ("TakeOver", ("sa{sv}", "shift ends", "1", "force", "b", "true"), "InvalidOption",
     'Unknown option "force": known here: none'),
    ("Extend", ("ta{sv}", "0", "0"), "InvalidOption", "give from 1 to"),
    ("Extend", ("ta{sv}", str(3653 * DAY), "0"), "InvalidOption", "give from 1 to"),
    ("Annotate", ("sa{sv}", "two\nlines", "0"), "InvalidReason", "The text has a control character at byte 4"),
    ("Annotate", ("sa{sv}", "x" * 250, "0"), "InvalidReason", "at most 256 are kept"),
    ("Annotate", ("sa{sv}", "late", "1", "replace", "s", "yes"), "InvalidOption", "must be a boolean"),
    ("Check", ("a{sv}", "1", "timeout-usec", "t", "0"), "InvalidOption", "give from 1 to"),
    ("Check", ("a{sv}", "1", "timeout-usec", "t", "300000001"), "InvalidOption", "give from 1 to"),
])
def test_what_is_asked_wrongly_of_a_lock_changes_nothing(running, root, member, arguments, name, said):
    lock = root.take("04.*", "AES rotation")
    before = lasting(root.lock(lock))
    error = root.start(lock, LOCK, member, *arguments).error()
    assert error.short == name and said in error.message
    assert lasting(root.lock(lock)) == before
    root.release(lock)
    arguments = {"TakeOver": ("sa{sv}", "shift ends", "0"), "Extend": ("ta{sv}", "1", "0"),
                 "Annotate": ("sa{sv}", "late", "0"), "Check": ("a{sv}", "0")}[member]
    error = root.start(lock, LOCK, member, *arguments).error()
    assert error.short == "NoSuchLock" and "has ended already (released)" in error.message


def test_state_failure_of_a_change(disk, running, root):
    lock = root.take("04.*", "AES rotation")
    before = lasting(root.lock(lock))
    disk.remount("ro")
    for member, arguments in (("TakeOver", ("sa{sv}", "shift ends", "0")), ("Extend", ("ta{sv}", "1", "0")),
                              ("Annotate", ("sa{sv}", "late", "0"))):
        error = root.start(lock, LOCK, member, *arguments).error()
        assert error.short == "StateFailure" and "Read-only file system" in error.message
    assert lasting(root.lock(lock)) == before
    disk.remount("rw")
    root.call(lock, LOCK, "Annotate", "sa{sv}", "late", "0")
    assert root.lock(lock)["Reason"] == "AES rotation; late"


def test_hypervisor_unavailable_to_a_check(running, hypervisor, root):
    lock = root.take("04.*")
    hypervisor.do("defaults", list_ms=-1)
    error = root.start(lock, LOCK, "Check", "a{sv}", *rig.option_arguments({"timeout-usec": 200000})).error()
    assert error.short == "HypervisorUnavailable"
    hypervisor.do("lose", reason="libvirtd closed the connection")
    answer, = root.call(lock, LOCK, "Check", "a{sv}", "0")
    assert not answer["ready"] and "libvirtd closed the connection" in answer["reason"]
    for call in (root.start(ROOT_PATH, MANAGER, "ListGuests", "sa{sv}", "all", "0"),
                 root.start(ROOT_PATH, MANAGER, "RehearseLock", "ssa{sv}", "05.*", "AES",
                            *rig.option_arguments({"timeout-usec": 200000}))):
        assert call.error().short == "HypervisorUnavailable"
    assert root.lock(lock)["State"] == "unproven"


@pytest.mark.parametrize("member", ["RehearseLock", "TakeLock"])
def test_rehearsal_is_asked_as_a_lock_is(nothing_changes, root, member):
    for arguments, name in ((("zz", "AES", "0"), "InvalidScope"), (("all", "", "0"), "InvalidReason"),
                            (("all", "AES", "1", "rehearse", "b", "true"), "InvalidOption")):
        assert root.start(ROOT_PATH, MANAGER, member, "ssa{sv}", *arguments).error().short == name


def test_invalid_scope_of_a_list_of_guests(nothing_changes, root):
    assert root.start(ROOT_PATH, MANAGER, "ListGuests", "sa{sv}", "04", "0").error().short == "InvalidScope"


def test_not_owner(running, nobody, other, bus):
    polkit = bus.start_polkit({"*": "yes", "org.apmigd1.release-others-lock": "no"})
    lock = nobody.take("04.0012", "mine")
    error = other.start_release(lock).error()
    assert error.short == "NotOwner"
    for part in ("belongs to nobody (uid 65534)", '"mine"', "org.apmigd1.release-others-lock"):
        assert part in error.message
    assert other.lock(lock)["State"] == "held"
    assert len(running.lock_files()) == 1
    assert polkit.actions()[-1] == "org.apmigd1.release-others-lock"


def test_hypervisor_unavailable(nothing_changes, hypervisor, root):
    hypervisor.do("lose", reason="libvirtd closed the connection")
    error = root.start_take(options={"timeout-usec": 200000}).error()
    assert error.short == "HypervisorUnavailable"
    assert "libvirtd closed the connection" in error.message


def test_hypervisor_unavailable_for_checking_a_guest(nothing_changes, hypervisor, root):
    hypervisor.do("lose", reason="gone")
    assert root.start(ROOT_PATH, MANAGER, "CheckGuest", "s", "g1").error().short == "HypervisorUnavailable"


def test_hypervisor_unavailable_when_a_guest_does_not_answer(nothing_changes, hypervisor, root):
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", query="fail")
    error = root.start_take(options={"timeout-usec": 2000000}).error()
    assert error.short == "HypervisorUnavailable"
    assert "'g1': the query was told to fail" in error.message


def test_hook_not_installed_with_qemu(bus, root, folder):
    """The QEMU driver is the one that calls the hook; that it is the driver is known from the URI before it answers."""
    daemon = rig.Daemon(bus, folder, rig.APMIGD, f"qemu:///system?socket={folder}/no-libvirt")
    daemon.start()
    hook = folder / "hooks" / "qemu.d" / "zz-apmigd"

    def refusal():
        error = root.start_take(options={"timeout-usec": 100000}).error()
        assert root.locks() == [] and daemon.lock_files() == []
        return error

    error = refusal()
    assert error.short == "HookNotInstalled"
    assert f"{hook} does not exist" in error.message and "allow-missing-hook" in error.message
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    assert (error := refusal()).short == "HookNotInstalled" and "is not executable" in error.message
    hook.chmod(0o755)
    assert refusal().short == "HypervisorUnavailable"
    hook.unlink()
    hook.mkdir()
    assert (error := refusal()).short == "HookNotInstalled" and "is no regular file" in error.message
    lock = root.take(options={"allow-missing-hook": True, "no-wait": True})
    assert root.lock(lock)["State"] == "draining"
    daemon.stop()


def test_hook_not_installed_only_matters_where_it_is_called(daemon, hypervisor, root):
    daemon.start()
    hypervisor.do("lose", reason="to come back as QEMU")
    hypervisor.do("connect", has_hook=True)
    assert root.start_take().error().short == "HookNotInstalled"
    hypervisor.do("lose", reason="to come back as another")
    hypervisor.do("connect", has_hook=False)
    assert root.lock(root.take())["State"] == "held"


def test_limit_exceeded_by_locks(daemon, hypervisor, root):
    daemon.policy(max_locks=2)
    daemon.start()
    first = root.take("01.0001")
    root.take("02.0001")
    error = root.start_take("03.0001").error()
    assert error.short == "LimitExceeded" and "there are 2 locks" in error.message
    assert len(root.locks()) == 2 and len(daemon.lock_files()) == 2
    root.release(first)
    root.take("03.0001")


def test_limit_exceeded_by_locks_of_one_user(daemon, hypervisor, root, nobody, other, bus):
    daemon.policy(max_locks_per_user=1)
    daemon.start()
    bus.start_polkit("yes")
    nobody.take("01.0001")
    error = nobody.start_take("02.0001").error()
    assert error.short == "LimitExceeded" and "nobody has 1 lock" in error.message
    other.take("02.0001")
    root.take("03.0001")
    root.take("04.0001")
    assert len(root.locks()) == 4


def test_limit_exceeded_by_waiting_calls(running, root, nobody, other, bus):
    """32 calls of one user may wait; no other user is kept out by them."""
    polkit = bus.start_polkit("silent")
    calls = [nobody.start_take("01.0001") for _ in range(33)]
    refused = until(lambda: [call for call in calls if not call.is_waiting()], "one to be refused")
    error = refused[0].error()
    assert error.short == "LimitExceeded" and "waits for 32 answers already" in error.message
    assert len([call for call in calls if call.is_waiting()]) == 32
    assert nobody.locks() == []  # what is answered at once is answered
    other_call = other.start_take("01.0001")
    root.release(root.take("01.0001"))
    assert other_call.is_waiting()
    # One that leaves makes room for another, and polkit is told to close its dialogue.
    next(call for call in calls if call.is_waiting()).kill()
    until(lambda: any("cancelled" in question for question in polkit.asked()), "polkit to be told")
    asked = len(polkit.actions())
    another = nobody.start_take("01.0001")
    until(lambda: len(polkit.actions()) == asked + 1, "the question to polkit")
    assert another.is_waiting()


# What anybody may ask, and is work: sent without waiting, once the bus has said whose the connection is.
MANY_CHECKS = """
import sys
sys.path.insert(0, sys.argv[1])
import wire
peer, buffer, errors, sent = wire.hello(sys.argv[2]), bytearray(), [], False
peer.sendall(wire.call(2, "CheckGuest", wire.string("nobody"), "s", "org.apmigd1"))
while len(errors) < 3:
    buffer += peer.recv(65536)
    for kind, _, header in wire.read_messages(buffer):
        if kind == wire.ERROR:
            errors.append(header[header.index(b"org.apmigd1.Error."):].split(b"\\0")[0].decode())
        if errors and not sent:
            sent = True
            for serial in range(10, 16):
                peer.sendall(wire.call(serial, "CheckMigration", wire.string(sys.argv[3]), "s", "org.apmigd1"))
print(*errors, flush=True)
peer.recv(65536)
"""


def test_limit_exceeded_by_costly_calls(running, root, nobody, bus):
    """Four of a user at a time: here sysfs hangs, so that none of them is answered, and two of six are refused at once."""
    running.copy_sysfs()
    mask = running.sysfs / "bus/ap/apmask"
    mask.unlink()
    os.mkfifo(mask)
    process = nobody.run(sys.executable, "-c", MANY_CHECKS, pathlib.Path(rig.__file__).parent, bus.address, domain())
    assert process.stdout.readline() == f"{ERROR}NoSuchGuest {ERROR}LimitExceeded {ERROR}LimitExceeded\n"
    assert root.locks() == []


def test_limit_exceeded_by_admissions_is_a_no(daemon, hypervisor, root):
    daemon.policy(max_admissions=1)
    daemon.start()
    assert root.admit(domain()) == (True, "")
    allowed, reason = root.admit(domain("g2", uuid_of(2)), "g2")
    assert not allowed and "max-admissions" in reason
    assert [m["guest"] for m in root.migrations()] == ["g1"]


# --- StateFailure: a state folder that cannot be written --------------------------------------------


def test_state_failure_on_a_full_disk(disk, running, root, bus):
    monitor = bus.monitor()
    filler = disk.fill()
    error = root.start_take().error()
    assert error.short == "StateFailure"
    assert "No space left on device" in error.message and "mend the state folder" in error.message
    assert root.locks() == [] and running.lock_files() == []
    assert monitor.wait_for("LockEnded")[2] == "failed"
    filler.unlink()
    assert root.lock(root.take())["State"] == "held"


def test_a_full_disk_does_not_keep_a_lock(disk, running, root):
    lock = root.take()
    disk.fill()
    root.release(lock)
    assert root.locks() == [] and running.lock_files() == []


def test_state_failure_on_a_read_only_disk(disk, running, root):
    kept = root.take("04.0012")
    held_at = root.lock(kept)["HeldAt"]
    disk.remount("ro")
    assert root.start_take("05.0012").error().short == "StateFailure"
    error = root.start_release(kept).error()
    assert error.short == "StateFailure"
    assert "Read-only file system" in error.message and f"apmigctl unlock {kept.rpartition('/')[2]}" in error.message
    # Still a lock: the gate is closed, and it is held again once proven anew.
    assert root.admit(domain())[0] is False
    assert root.wait_for_state(kept, "held")["HeldAt"] == held_at
    assert [lock["path"] for lock in root.locks()] == [kept]
    disk.remount("rw")
    root.release(kept)
    assert root.locks() == []


def test_state_failure_of_a_release_waited_for_by_several(disk, running, root):
    lock = root.take()
    disk.remount("ro")
    for call in [root.start_release(lock) for _ in range(3)]:
        assert call.error().short == "StateFailure"
    assert root.wait_for_state(lock, "held")


# --- guests -----------------------------------------------------------------------------------------


def test_no_such_guest(nothing_changes, root):
    for guest in ("g1", uuid_of(1), "g1\u00e4", "%s%n"):
        error = root.start(ROOT_PATH, MANAGER, "CheckGuest", "s", guest).error()
        assert error.short == "NoSuchGuest"


@pytest.mark.parametrize("guest", ["", "x" * 1025, "a\nb"])
def test_invalid_guest_to_check(nothing_changes, root, guest):
    assert root.start(ROOT_PATH, MANAGER, "CheckGuest", "s", guest).error().short == "InvalidGuest"


@pytest.mark.parametrize("xml, said", [
    (domain()[:-3], "does not parse"),
    (domain().replace("<domain", "<network").replace("domain>", "network>"), "no <domain>"),
    (domain().replace("<name>g1</name>", ""), "is empty"),
    (domain(uuid="</uuid><uuid>"), "more than one <uuid>"),
    (domain(uuid="not-a-uuid"), "is no UUID"),
    (domain("g2"), 'called "g1" but its domain XML says "g2"'),
    (domain("g1</name><name>g1"), "more than one <name>"),
    (domain("x" * 256), "its name in the domain XML"),
    ("<!DOCTYPE d [<!ENTITY a 'b'>]>" + domain(), "entities"),
    (domain(scope="&undeclared;"), "does not parse"),
    ("<a>" * 3000 + domain() + "</a>" * 3000, "does not parse"),
])
def test_invalid_guest_that_comes_in(nothing_changes, root, xml, said):
    error = root.start_admit(xml).error()
    assert error.short == "InvalidGuest"
    assert said in error.message and len(error.message) < 500


@pytest.mark.parametrize("xml", ["", "no XML", "<domain/>", "<domain><name>g1</name></domain>", "<a>" * 3000,
                                 "<!DOCTYPE d SYSTEM 'file:///etc/passwd'><domain><name>g1</name></domain>"])
def test_what_is_no_guest_of_ours_comes_in(nothing_changes, root, xml):
    assert root.admit(xml) == (True, "")
    assert root.start(ROOT_PATH, MANAGER, "CheckMigration", "s", xml).error().short == "InvalidGuest"


def test_invalid_option_of_an_admission(nothing_changes, root):
    for operation in ("prepare", "", "Migrate", "x" * 500):
        error = root.start_admit(domain(), operation=operation).error()
        assert error.short == "InvalidOption" and "only migrate and restore" in error.message
        assert len(error.message) < 300


def test_invalid_guest_of_20_mib(nothing_changes, running, root, bus):
    """More than an argument of a program may hold, so it comes from a program of its own."""
    xml = bus.folder / "huge.xml"
    for filling, size in (("<a/>", 20), ("x", 20), ("<a>", 5)):
        xml.write_text(domain().replace("<os>", filling * (size * 1024 * 1024 // len(filling)) + "<os>"))
        process = bus.start(sys.executable, SOURCE / "tests" / "bus" / "admit_file.py", "g1", xml)
        out, err = process.communicate(timeout=rig.LIMIT)
        assert out.startswith("org.apmigd1.Error.InvalidGuest:") and "more than 4194304" in out, out + err
    assert root.locks() == []  # it is alive, and keeps nothing of it
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{running.process.pid}/status").read())[1])
    assert peak < 500 * 1024, f"{peak} KiB at its peak"


def test_largest_xml_is_read(running, root, bus):
    xml = bus.folder / "large.xml"
    xml.write_text(domain().replace("<os>", "<!--" + "x" * (4 * 1024 * 1024 - 1000) + "--><os>"))
    process = bus.start(sys.executable, SOURCE / "tests" / "bus" / "admit_file.py", "g1", xml)
    assert process.communicate(timeout=rig.LIMIT)[0] == "allowed\n"
    assert [m["guest"] for m in root.migrations()] == ["g1"]
