# SPDX-License-Identifier: LGPL-2.1-or-later
"""Permits: one migration of one guest goes through a lock, once, and what the lock, the hook and the journal say of it."""
import json
import os
import subprocess
import time

import pytest
import rig
from journal import IDS
from rig import APMIGCTL, MANAGER, ROOT_PATH, domain, until, uuid_of

G1, G2 = uuid_of(1), uuid_of(2)
OK, DENIED, USAGE, BUSY, NOT_FOUND, NO_GO = 0, 1, 2, 6, 8, 33
MINUTE = 60 * 10**6


@pytest.fixture
def quick(daemon):
    """Reads job states often under a lock that is held."""
    daemon.policy(held_interval_usec=100000)
    return daemon.start()


@pytest.fixture
def ctl(root):
    """Runs apmigctl; gives (exit status, standard output, standard error)."""
    def ctl(*arguments, client=root):
        process = client.run(APMIGCTL, *arguments)
        out, err = process.communicate(timeout=rig.LIMIT)
        return process.returncode, out, err
    return ctl


def start_permit(client, guest="g1", reason="host dies", options=None):
    return client.start(ROOT_PATH, MANAGER, "PermitMigration", "ssa{sv}", guest, reason, *rig.option_arguments(options))


def permit(client, *arguments, **options):
    return start_permit(client, *arguments, **options).answer()[0]


def start_revoke(client, guest="g1"):
    return client.start(ROOT_PATH, MANAGER, "RevokePermit", "s", guest)


def permits(client):
    return client.call(ROOT_PATH, MANAGER, "ListPermits")[0]


def files(daemon):
    return sorted(path.name for path in (daemon.runtime / "permits").iterdir())


def used(daemon):
    """(Guest, direction) of each permit that is on disk as used."""
    texts = [json.loads((daemon.runtime / "permits" / name).read_text()) for name in files(daemon)]
    return [(text["used-by"], text["direction"]) for text in texts if text["used-by"]]


def ready(client, lock):
    return client.call(lock, rig.LOCK, "Check", "a{sv}", "0")[0]


def test_what_a_permit_shows(running, root, bus):
    monitor = bus.monitor()
    before = time.time() * 10**6
    until_usec = permit(root, "g1", "host dies", {"duration-usec": MINUTE})
    shown = permits(root)
    assert len(shown) == 1 and before + MINUTE <= until_usec <= time.time() * 10**6 + MINUTE
    assert {name: shown[0][name] for name in ("guest", "uuid", "reason", "owner-uid", "owner-name", "until", "in-use")} == {
        "guest": "g1", "uuid": "", "reason": "host dies", "owner-uid": 0, "owner-name": "root", "until": until_usec,
        "in-use": False}
    until(lambda: monitor.changes(ROOT_PATH, "Permits") == [1], "the change to be told")
    file = running.runtime / "permits" / files(running)[0]
    assert file.stat().st_mode & 0o7777 == 0o600 and file.parent.stat().st_mode & 0o7777 == 0o700
    assert json.loads(file.read_text())["reason"] == "host dies"
    assert start_revoke(root).answer() == []
    assert (permits(root), files(running)) == ([], [])
    until(lambda: monitor.changes(ROOT_PATH, "Permits") == [1, 0], "the end to be told")


def test_login_is_marked_where_it_is_verified(running, root):
    """By what is on disk: most machines that test know no login. An earlier version did not write the mark."""
    permit(root, "g1")
    shown = permits(root)[0]
    assert ("login-uid" in shown) is ("login-verified" in shown)
    file = running.runtime / "permits" / files(running)[0]
    kept = json.loads(file.read_text())
    for mark in ({}, {"login-verified": True}):
        running.stop()
        file.write_text(json.dumps({**kept, "login-uid": 1001, **mark}))
        running.start()
        shown = permits(root)[0]
        assert (shown["login-uid"], shown["login-verified"]) == (1001, bool(mark))


@pytest.mark.parametrize("guest, reason, options, name, said", [
    ("", "host dies", None, "InvalidGuest", "is empty"),
    ("x" * 256, "host dies", None, "InvalidGuest", "give at most 255"),
    ("g\n1", "host dies", None, "InvalidGuest", "control character"),
    ("g1", "", None, "InvalidReason", "is empty"),
    ("g1", "x" * 257, None, "InvalidReason", "give at most 256"),
    ("g1", "host dies", {"duration-usec": 999999}, "InvalidOption", "from 1000000 to 14400000000"),
    ("g1", "host dies", {"duration-usec": 4 * 3600 * 10**6 + 1}, "InvalidOption", "from 1000000 to 14400000000"),
    ("g1", "host dies", {"change-id": ""}, "InvalidOption", "is empty"),
    ("g1", "host dies", {"twice": True}, "InvalidOption", "Unknown option"),
])
def test_what_is_asked_wrongly(running, root, guest, reason, options, name, said):
    error = start_permit(root, guest, reason, options).error()
    assert error.short == name and said in error.message
    assert permits(root) == [] and files(running) == []


def test_no_such_permit(running, root):
    assert start_revoke(root, "nobody's").error().short == "NoSuchPermit"
    assert start_revoke(root, "").error().short == "InvalidGuest"


def test_limit_and_replacement(running, root):
    calls = [start_permit(root, f"h{i}") for i in range(64)]
    for call in calls:
        call.answer()
    error = start_permit(root, "h64").error()
    assert error.short == "LimitExceeded" and "64 permits" in error.message
    permit(root, "h1", "another reason")
    assert len(permits(root)) == len(files(running)) == 64
    assert [p["reason"] for p in permits(root) if p["guest"] == "h1"] == ["another reason"]


def test_expires(running, root):
    permit(root, "g1", options={"duration-usec": 10**6})
    until(lambda: permits(root) == [] and files(running) == [], "the permit to expire")
    assert "the permit of root for guest g1 has ended: expired" in running.read_log()


def test_needs_its_own_action(running, nobody, root, bus):
    polkit = bus.start_polkit({"org.apmigd1.permit-migration": "no", "*": "yes"})
    error = start_permit(nobody).error()
    assert error.name == rig.ACCESS_DENIED and "org.apmigd1.permit-migration" in error.message
    polkit.answers("yes")
    permit(nobody)
    assert polkit.actions() == 2 * ["org.apmigd1.permit-migration"]
    assert permits(root)[0]["owner-uid"] == 65534


# --- what goes through ------------------------------------------------------------------------------


def test_comes_in_once(quick, hypervisor, root):
    lock = root.take("04.*")
    assert ready(root, lock)["ready"] is True
    permit(root)
    verdict = ready(root, lock)
    assert verdict["ready"] is False and "guest 'g1' may begin to migrate until" in verdict["reason"]
    assert root.lock(lock)["State"] == "held"
    assert root.admit(domain(), operation="restore")[0] is False
    assert root.admit(domain("g2", G2), "g2")[0] is False
    assert root.admit(domain()) == (True, "")
    assert permits(root)[0]["in-use"] is True and permits(root)[0]["direction"] == "in"
    assert used(quick) == [(G1, "in")]
    assert root.lock(lock)["State"] == "permitted"
    assert "'g1' was let in and has not appeared yet, which counts until" in ready(root, lock)["reason"]
    assert root.admit(domain())[0] is False
    error = start_revoke(root).error()
    assert error.short == "Busy" and "virsh domjobabort" in error.message
    assert start_permit(root).error().short == "Busy"
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", job="incoming")
    hypervisor.hint(uuid=G1)
    path = root.wait_for_migration(guest="g1", phase="incoming")["path"]
    assert root.migration(path)["Permitted"] is True and root.lock(lock)["Blockers"] == [path]
    hypervisor.guest(G1, job="none")
    hypervisor.hint(uuid=G1)
    assert root.wait_for_result(path)["Result"] == "completed"
    assert root.wait_for_state(lock, "held")["Breaches"] == 0
    assert (permits(root), files(quick)) == ([], [])
    assert ready(root, lock)["ready"] is True
    assert hypervisor.calls("step") == []


def test_leaves_once_and_the_next_is_a_breach(quick, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", step_ms=20)
    lock = root.take("04.*")
    held_at = root.lock(lock)["HeldAt"]
    permit(root, G1.upper())
    hypervisor.guest(G1, job="outgoing")
    shown = root.wait_for_state(lock, "permitted")
    assert (shown["Breaches"], shown["HeldAt"]) == (0, held_at) and "(which is permitted" in shown["Waiting"]
    hypervisor.guest(G1, job="none")
    root.wait_for_state(lock, "held")
    assert hypervisor.calls("step") == []
    hypervisor.guest(G1, job="outgoing", data_processed=1)
    until(lambda: hypervisor.calls("step", G1), "the second one to be ended")
    assert root.lock(lock)["Breaches"] == 1


def test_permit_of_what_is_waited_for(running, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    lock = root.take("04.*", options={"no-wait": True, "on-busy": "wait"})
    root.wait_for_migration(guest="g1")
    permit(root)
    assert permits(root)[0]["in-use"] is True and root.lock(lock)["State"] == "draining"
    hypervisor.guest(G1, job="none")
    root.wait_for_state(lock, "held")


def test_busy_for_what_is_being_ended(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    root.take("04.*", options={"no-wait": True})
    until(lambda: hypervisor.calls("step", G1), "the step")
    error = start_permit(root).error()
    assert error.short == "Busy" and "cannot be called back" in error.message
    assert files(running) == []
    assert ctl("permit", "g1", "--once", "--reason=host dies")[0] == BUSY


def test_checks_say_so(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    lock = root.take("04.*")
    permit(root)
    allowed, reason, locks = root.check("g1")
    assert allowed and 'permitted once by root ("host dies")' in reason and locks == [lock]
    status, out, _ = ctl("check", "g1")
    assert status == OK and out.startswith("guest 'g1' may come in: permitted once by root")
    allowed, reason, findings = root.call(ROOT_PATH, MANAGER, "CheckMigration", "s", domain())
    assert allowed and reason == ""
    assert [f[1:3] for f in findings if f[2] == "permitted"] == [[f"lock {lock[-8:]}", "permitted"]]


# --- what survives ----------------------------------------------------------------------------------


def test_survives_a_crash_open_and_in_use(quick, hypervisor, root):
    guest = {"name": "g1", "affected": "yes", "scope": "04.0012"}
    hypervisor.guest(G1, **guest)
    lock = root.take("04.*")
    before = permit(root)
    quick.kill()
    hypervisor.initially({"do": "guest", "uuid": G1, **guest})
    hypervisor.disconnect()
    quick.start()
    assert permits(root)[0]["until"] == before
    root.wait_for_state(lock, "held")
    hypervisor.guest(G1, job="outgoing")
    root.wait_for_state(lock, "permitted")
    until(lambda: used(quick) == [(G1, "out")], "its use to be written")
    quick.kill()
    hypervisor.initially({"do": "guest", "uuid": G1, "job": "outgoing", **guest})
    hypervisor.disconnect()
    quick.start()
    migration = root.wait_for_migration(guest="g1")["path"]
    until(lambda: root.migration(migration)["Scope"] == "04.0012", "the guest to be read")
    assert root.lock(lock)["Breaches"] == 0 and hypervisor.calls("step") == []
    root.wait_for_state(lock, "permitted")
    hypervisor.guest(G1, job="none")
    root.wait_for_state(lock, "held")
    assert files(quick) == []


@pytest.mark.skipif(not rig.has_failpoints(), reason="needs -Dfailpoints=true")
def test_crash_between_use_and_yes(daemon, hypervisor, root):
    """It is used up: the hook had no answer, and the next one finds no permit."""
    daemon.start(APMIGD_FAILPOINT="permit-used")
    lock = root.take("04.*")
    permit(root)
    call = root.start_admit(domain())
    daemon.wait()
    call.kill()
    assert used(daemon) == [(G1, "in")]
    daemon.start()
    until(lambda: permits(root) == [] and files(daemon) == [], "the permit to end")
    assert root.admit(domain())[0] is False
    root.wait_for_state(lock, "held")


@pytest.mark.parametrize("text", ["", "{}", "garbage", "x" * 9000])
def test_damaged_permit_is_none(running, root, text):
    permit(root)
    running.stop()
    file = running.runtime / "permits" / files(running)[0]
    file.write_text(text)
    running.start()
    assert permits(root) == [] and f"{file} is damaged" in running.read_log()
    permit(root, "g2")


# --- without apmigd ---------------------------------------------------------------------------------


@pytest.fixture
def hook(running, bus):
    """Runs apmigctl hook on this host's folders; gives (exit status, standard error)."""
    def hook(guest="g1", uuid=G1, operation="migrate"):
        environment = {**os.environ, **rig.ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
                       "STATE_DIRECTORY": str(running.state), "RUNTIME_DIRECTORY": str(running.runtime)}
        done = subprocess.run([APMIGCTL, "hook", guest, operation, "begin", "-"], input=domain(guest, uuid), text=True,
                              capture_output=True, timeout=rig.LIMIT, env=environment)
        assert done.stdout == ""
        return done.returncode, done.stderr
    return hook


def test_counts_once_apmigd_is_back(running, root, hook):
    """While it is down, a hook lets nobody in by a permit, and leaves that as it is."""
    lock = root.take("04.*")
    permit(root)
    running.kill()
    before = [(name, (running.runtime / "permits" / name).read_text()) for name in files(running)]
    for operation in "migrate", "restore":
        assert hook(operation=operation)[0] == DENIED
    assert "start it with 'systemctl start apmigd', without which no permit counts" in hook()[1]
    assert [(name, (running.runtime / "permits" / name).read_text()) for name in files(running)] == before
    running.start()
    assert hook("g2", G2)[0] == DENIED
    assert hook() == (OK, "")
    assert used(running) == [(G1, "in")] and root.lock(lock)["Breaches"] == 0
    status, err = hook()
    assert status == DENIED and f"lock {lock[-8:]}" in err


def test_expires_while_apmigd_is_down(running, root, hook):
    root.take("04.*")
    permit(root, options={"duration-usec": 10**6})
    running.kill()
    time.sleep(1.1)
    running.start()
    assert hook()[0] == DENIED
    assert (permits(root), files(running)) == ([], [])


# --- who is told ------------------------------------------------------------------------------------


def test_apmigctl(running, root, ctl, hypervisor):
    for wrong in (["g1"], ["g1", "--once"], ["g1", "--reason=x"], ["--once", "--reason=x"], ["g1", "--revoke", "--once"]):
        assert ctl("permit", *wrong)[0] == USAGE
    assert ctl("permit") == (OK, "No permits.\n", "")
    status, out, err = ctl("permit", "g1", "--once", "--reason=host dies", "--duration=10min")
    assert (status, err) == (OK, "") and out.startswith("Guest 'g1' may migrate once, beginning before ")
    assert "This host does not know it" in out
    status, out, _ = ctl("permit")
    assert status == OK and "GUEST" in out and "host dies" in out
    status, out, _ = ctl("permit", "--json=short")
    assert status == OK and json.loads(out)[0]["guest"] == "g1"
    status, out, _ = ctl("status")
    assert status == OK and "Permits:" in out and "host dies" in out
    assert [p["guest"] for p in json.loads(ctl("status", "--json=short")[1])["Permits"]] == ["g1"]
    assert ctl("permit", "g1", "--revoke") == (OK, "The permit of guest 'g1' is revoked.\n", "")
    assert ctl("permit", "g1", "--revoke")[0] == NOT_FOUND
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    status, out, _ = ctl("permit", "g1", "--once", "--reason=host dies")
    assert status == OK and "does not know it" not in out


def test_ready_watch_and_monitoring(quick, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    lock = root.take("04.*", "AES rotation")
    watching = root.run(APMIGCTL, "watch")
    assert "held" in watching.stdout.readline()
    permit(root)
    assert "apmigd: guest 'g1' may migrate once until" in watching.stdout.readline()
    status, out, _ = ctl("ready")
    assert status == NO_GO and "NO-GO: guest 'g1' may begin to migrate" in out
    hypervisor.guest(G1, job="outgoing")
    assert f"lock {lock[-8:]}: permitted: guest 'g1' is migrating out" in watching.stdout.readline()
    status, out, _ = ctl("ready", lock[-8:])
    assert status == NO_GO and "(which is permitted" in out
    assert f"a permitted migration is in progress under lock {lock[-8:]}" in ctl("status", "--check")[1]
    hypervisor.guest(G1, job="none")
    assert f"lock {lock[-8:]}: held" in watching.stdout.readline()
    assert watching.poll() is None
    assert ctl("ready")[0] == OK


def test_journal_and_report(journaled, journal, hypervisor, root, folder):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    lock = root.take("04.*", options={"change-id": "CHG1"})
    permit(root, options={"change-id": "CHG1"})
    asked = journal.wait_for(REQUEST="permit")
    assert (asked["MESSAGE_ID"], asked["GUEST"], asked["CHANGE_ID"]) == (IDS["REQUEST_MADE"], "g1", "CHG1")
    given = journal.wait_for(MESSAGE_ID=IDS["PERMIT_GIVEN"])
    assert (given["GUEST"], given["GUEST_UUID"], given["LOCK_ID"]) == ("g1", G1, lock[-8:])
    hypervisor.guest(G1, job="outgoing")
    hypervisor.hint(uuid=G1)
    assert journal.wait_for(MESSAGE_ID=IDS["PERMIT_USED"])["LOCK_ID"] == lock[-8:]
    hypervisor.guest(G1, job="none")
    hypervisor.hint(uuid=G1)
    assert journal.wait_for(MESSAGE_ID=IDS["PERMIT_ENDED"])["RESULT"] == "used"
    start_revoke(root).error()
    root.release(lock)
    journal.wait_for(MESSAGE_ID=IDS["LOCK_ENDED"])
    journal.write_file(folder / "files")
    command = [APMIGCTL, "report", "--directory", folder / "files", "CHG1"]
    out = root.run(*command).communicate(timeout=rig.LIMIT)[0]
    assert "\nPermitted\n" in out and "1 migrations that were permitted" in out
    answer = json.loads(root.run(*command, "--json=short").communicate(timeout=rig.LIMIT)[0])
    assert answer["Counts"]["Permitted"] == 1
    assert [e["Event"] for e in answer["Entries"] if e["Event"].startswith("PERMIT_")] == [
        "PERMIT_GIVEN", "PERMIT_USED", "PERMIT_ENDED"]
