# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigctl against the running daemon: what it prints, what it leaves, and how it exits.

The hook verb has tests of its own (test_hook.py).
"""
import json
import signal

import pytest
import rig
from rig import APMIGCTL, domain, until, uuid_of

G1 = uuid_of(1)

OK, FAILURE, USAGE, INVALID, DENIED, LOCKED, BUSY, TIMEOUT, NOT_FOUND, HYPERVISOR, HOOK = range(11)
REFUSED, UNREACHABLE, WOULD_DENY = 12, 13, 20


def test_lock_list_unlock(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    status, out, err = ctl("lock", "04.*", "AES rotation", "--for=3d", "--change-id=CHG1", "--on-busy=wait")
    assert (status, err) == (OK, "")
    lock = root.locks()[0]
    assert out.startswith(f"Lock {lock['id']} on 04.* is held.\n") and f"apmigctl unlock {lock['id']}" in out
    shown = root.lock(lock["path"])
    assert (shown["ChangeId"], shown["OnBusy"], shown["ExpectedDuration"]) == ("CHG1", "wait", 3 * 24 * 3600 * 10**6)

    status, out, err = ctl("list")
    assert (status, err) == (OK, "")
    title, row = out.splitlines()
    assert title.split() == ["LOCK", "STATE", "SCOPE", "OWNER", "SINCE", "REASON"]
    for part in (lock["id"], "held", "04.*", "root", "AES rotation"):
        assert part in row

    status, out, _ = ctl("list", lock["id"][:6])
    assert status == OK and "Change: CHG1" in out and "Announced: 3 d" in out

    assert ctl("unlock", lock["id"]) == (OK, f"Lock {lock['id']} is released.\n", "")
    assert root.locks() == []
    assert ctl("list") == (OK, "No locks.\n", "")
    status, out, _ = ctl("list", lock["id"])  # readable for a while
    assert status == OK and "Result: released" in out


def test_json_has_the_names_of_the_bus(running, root, ctl):
    status, out, _ = ctl("lock", "04.*", "AES rotation", "--json=short")
    lock = root.locks()[0]
    shown = {**rig.lasting(root.lock(lock["path"])), "Path": lock["path"]}
    assert status == OK and len(out.splitlines()) == 1
    assert rig.lasting(json.loads(out)) == shown
    assert [rig.lasting(listed) for listed in json.loads(ctl("list", "--json=pretty")[1])] == [shown]
    assert rig.lasting(json.loads(ctl("list", lock["id"], "--json=short")[1])) == shown
    root.admit(domain(scope="05.0012"))
    migrations = json.loads(ctl("migrations", "--json=short")[1])
    assert [(m["Guest"], m["Phase"], m["Direction"]) for m in migrations] == [("g1", "admitted", "in")]
    everything = json.loads(ctl("status", "--json=short")[1])
    assert everything["Locked"] is True and everything["Migrations"] == migrations
    assert [rig.lasting(listed) for listed in everything["Locks"]] == [shown]
    assert json.loads(ctl("unlock", lock["id"], "--json=short")[1])["Id"] == lock["id"]
    assert json.loads(ctl("list", "--json=short")[1]) == []


def test_quiet_prints_what_was_asked_for(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    status, out, err = ctl("lock", "04.*", "AES rotation", "--quiet")
    assert (status, out, err) == (OK, root.locks()[0]["id"] + "\n", "")
    assert ctl("unlock", "--quiet", out.strip()) == (OK, "", "")
    assert ctl("list", "--quiet") == (OK, "", "")


def test_status_tells_all_on_one_page(running, hypervisor, root, ctl):
    hypervisor.start_guest(G1, name="g1", affected="yes", job="outgoing", step="nothing", data_remaining=412 << 20)
    root.take(options={"no-wait": True})
    root.wait_for_migration(guest="g1")
    status, out, err = ctl("status")
    assert (status, err) == (OK, "")
    for part in ("Version:", "Hypervisor: complete", "NOT INSTALLED", "Locked: yes", "draining", "g1", "outgoing", "412"):
        assert part in out
    status, out, _ = ctl("migrations")
    assert status == OK and "g1" in out and "412" in out


def test_no_wait(running, hypervisor, root, ctl):
    hypervisor.do("lose", reason="libvirtd was stopped")
    status, out, _ = ctl("lock", "all", "AES rotation", "--no-wait")
    assert status == OK and "is draining." in out and "libvirtd was stopped" in out
    assert root.locks()[0]["state"] == "draining"


def test_progress_while_draining(running, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing", data_remaining=412 << 20)
    process = root.run(APMIGCTL, "lock", "all", "AES rotation", "--progress")
    assert "Waiting until the lock is held" in process.stderr.readline()
    line = process.stderr.readline()
    assert line.startswith("waiting for g1") and "412" in line
    hypervisor.guest(G1, job="none")
    out, _ = process.communicate(timeout=rig.LIMIT)
    assert process.returncode == OK and "is held." in out


def test_progress_of_a_lock_that_was_there(running, hypervisor, root):
    """The request of the same change once more, after its terminal was lost."""
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    lock = root.take("all", "AES rotation", options={"change-id": "CHG-17", "no-wait": True})
    process = root.run(APMIGCTL, "lock", "all", "AES rotation", "--change-id=CHG-17", "--progress")
    assert "Waiting until the lock is held" in process.stderr.readline()
    assert process.stderr.readline().startswith("waiting for g1")
    hypervisor.guest(G1, job="none")
    out, _ = process.communicate(timeout=rig.LIMIT)
    assert process.returncode == OK and lock.rpartition("/")[2] in out and "is held." in out


def test_interrupted_while_draining_takes_the_request_back(running, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    process = root.run(APMIGCTL, "lock", "all", "AES rotation")
    root.wait_for_lock(state="draining")
    process.send_signal(signal.SIGINT)
    assert process.wait(rig.LIMIT) != OK
    until(lambda: root.locks() == [], "the request to be gone")


def test_check(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    assert ctl("check", "g1")[0] == OK
    lock = root.take("04.*", "AES rotation of spring")
    status, out, err = ctl("check", "g1")
    assert status == WOULD_DENY
    assert lock.rpartition("/")[2] in out + err and "AES rotation of spring" in out + err
    answer = json.loads(ctl("check", G1, "--json=short")[1])
    assert lock in json.dumps(answer) or lock.rpartition("/")[2] in json.dumps(answer)
    assert ctl("check", "g2")[0] == NOT_FOUND


def test_what_others_wrote_is_safe_on_a_terminal(running, hypervisor, root, ctl):
    """A reason may hold what no font has; a guest may be called anything, with marks that reorder a line."""
    root.take("04.*", "fine \ue000 evil")
    hypervisor.guest(G1, name="g\x1b[31m\n1\u202e", affected="yes", scope="04.0012", job="incoming")
    hypervisor.hint(uuid=G1)
    until(root.migrations, "the guest")
    for verb in ("list", "migrations", "status"):
        status, out, _ = ctl(verb)
        assert status == OK
        assert "\x1b" not in out and "\u202e" not in out
        assert all(character.isprintable() or character == "\n" for character in out)
    assert "\\u{e000}" in ctl("list")[1]
    assert all(shown in ctl("migrations")[1] for shown in ("\\u{1b}", "\\u{202e}"))


# --- exit statuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, expected", [
    ([], USAGE),
    (["lok"], USAGE),
    (["lock"], USAGE),
    (["lock", "all"], USAGE),
    (["lock", "all", "AES", "rotation"], USAGE),
    (["lock", "all", "AES", "--for=soon"], USAGE),
    (["lock", "all", "AES", "--json=yaml"], USAGE),
    (["lock", "all", "AES", "--wait"], USAGE),
    (["list", "a", "b"], USAGE),
    (["lock", "04.zz", "AES"], INVALID),
    (["lock", "all", ""], INVALID),
    (["lock", "all", "AES", "--on-busy=maybe"], INVALID),
    (["unlock", "00000000"], NOT_FOUND),
    (["unlock", ""], NOT_FOUND),
    (["list", "00000000"], NOT_FOUND),
    (["check", "g1"], NOT_FOUND),
], ids=lambda value: " ".join(value) if isinstance(value, list) else str(value))
def test_exit_status_of_what_is_wrong_at_once(running, root, ctl, arguments, expected):
    status, out, err = ctl(*arguments)
    assert (status, out) == (expected, "")
    assert err.startswith("apmigctl: ") and len(err.splitlines()) == 1
    assert root.locks() == []


def test_exit_status_of_locked(running, root, ctl):
    lock = root.take("04.*", "AES rotation of spring")
    status, out, err = ctl("lock", "all", "APKA rotation")
    assert (status, out) == (LOCKED, "")
    assert lock.rpartition("/")[2] in err and "AES rotation of spring" in err


def test_exit_status_of_busy_and_timeout(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    status, _, err = ctl("lock", "all", "AES", "--on-busy=refuse")
    assert status == BUSY and "g1" in err
    status, _, err = ctl("lock", "all", "AES", "--timeout=1s")
    assert status == TIMEOUT and "g1" in err
    assert root.locks() == []


def test_exit_status_of_cancelled(running, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    process = root.run(APMIGCTL, "lock", "all", "AES rotation")
    root.release(root.wait_for_lock(state="draining")["path"])
    _, err = process.communicate(timeout=rig.LIMIT)
    assert process.returncode == REFUSED and "released" in err


def test_exit_status_without_hypervisor(running, hypervisor, ctl):
    hypervisor.do("lose", reason="libvirtd was stopped")
    status, _, err = ctl("lock", "all", "AES", "--timeout=1s")
    assert status == HYPERVISOR and "libvirtd was stopped" in err


def test_exit_status_without_hook(running, hypervisor, root, ctl):
    hypervisor.do("lose", reason="to come back as QEMU")
    hypervisor.do("connect", has_hook=True)
    status, _, err = ctl("lock", "all", "AES")
    assert status == HOOK and "zz-apmigd" in err
    assert ctl("lock", "all", "AES", "--allow-missing-hook")[0] == OK


def test_exit_status_of_the_unauthorized(running, root, nobody, ctl):
    status, out, err = ctl("lock", "all", "AES", client=nobody)
    assert (status, out) == (DENIED, "")
    assert "org.apmigd1.take-lock" in err  # unlike busctl, it shows the sentence
    lock = root.take()
    status, _, err = ctl("unlock", lock.rpartition("/")[2], client=nobody)
    assert status == DENIED and "belongs to root" in err
    assert ctl("list", client=nobody)[0] == OK and ctl("status", client=nobody)[0] == OK


def test_exit_status_of_a_limit_and_of_damage(daemon, hypervisor, root, ctl):
    daemon.policy(max_locks=1)
    locks = daemon.state / "locks"
    locks.mkdir(parents=True)
    (locks / "0a1b2c3d.json").write_text("garbage")
    daemon.start()
    assert ctl("list")[1].splitlines()[1].split()[:3] == ["0a1b2c3d", "recovered", "all"]
    status, _, err = ctl("unlock", "0a1b2c3d")
    assert status == REFUSED and "--force" in err
    assert ctl("unlock", "--force", "0a1b2c3d")[0] == OK
    assert ctl("lock", "04.*", "AES")[0] == OK
    assert ctl("lock", "05.*", "AES")[0] == REFUSED


def test_exit_status_without_apmigd(bus, root, ctl):
    for arguments in (["list"], ["status"], ["lock", "all", "AES"], ["unlock", "x"], ["check", "g1"], ["migrations"]):
        status, out, err = ctl(*arguments)
        assert (status, out) == (UNREACHABLE, "")
        assert "systemctl status apmigd" in err


def test_exit_status_when_apmigd_dies(running, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    process = root.run(APMIGCTL, "lock", "all", "AES rotation")
    root.wait_for_lock(state="draining")
    running.kill()
    process.communicate(timeout=rig.LIMIT)
    assert process.returncode == UNREACHABLE


def test_beginning_of_an_id_suffices_if_it_is_one(daemon, hypervisor, root, ctl):
    locks = daemon.state / "locks"
    locks.mkdir(parents=True)
    for lock_id in ("aa000001", "aa000002"):
        (locks / f"{lock_id}.json").write_text("")
    daemon.start()
    assert ctl("unlock", "--force", "aa")[0] == NOT_FOUND
    assert len(root.locks()) == 2
    assert ctl("unlock", "--force", "aa000002")[0] == OK
    assert ctl("unlock", "--force", "/org/apmigd1/lock/aa000001")[0] == OK


def test_help_and_version(bus, ctl):
    status, out, _ = ctl("--help")
    assert status == OK and "Exit status:" in out
    assert ctl("--version")[1].startswith("apmigctl ")
    for verb in ("lock", "unlock", "status", "list", "migrations", "check", "unstamp", "wait", "watch", "ready", "affected",
                 "take-over", "extend", "annotate"):
        status, out, err = ctl(verb, "--help")
        assert (status, err) == (OK, "") and out
