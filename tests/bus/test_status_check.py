# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigctl status --check, as monitoring systems run it: one line, and an exit status of theirs."""
import pytest
import rig
from rig import APMIGCTL, uuid_of

OK, WARNING, CRITICAL = 0, 1, 2
G1 = uuid_of(1)


@pytest.fixture
def check(root):
    """Runs it; gives the exit status and the line."""
    def check():
        out, err = (process := root.run(APMIGCTL, "status", "--check")).communicate(timeout=rig.LIMIT)
        assert err == "" and len(out.splitlines()) == 1
        return process.returncode, out
    return check


@pytest.fixture
def well(daemon, hypervisor, folder):
    """The daemon running, with its hook in place."""
    hook = folder / "hooks" / "qemu.d" / "zz-apmigd"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    return daemon


def test_ok(well, hypervisor, root, check):
    well.start()
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    assert check() == (OK, "APMIGD OK - all is well | locks=0 migrations=0\n")
    root.take("04.*")
    assert check() == (OK, "APMIGD OK - all is well | locks=1 migrations=0\n")


def test_overdue(well, root, check):
    well.start()
    lock = root.take("04.*", options={"expected-duration-usec": 1})
    rig.until(lambda: root.lock(lock)["Overdue"], "the lock to be overdue")
    status, line = check()
    assert status == WARNING and line.startswith("APMIGD WARNING - lock ") and "of root is overdue" in line


def test_libvirt_is_not_reached(well, hypervisor, root, check):
    well.start()
    hypervisor.do("lose", reason="libvirtd was stopped")
    assert check()[0] == WARNING
    root.take("04.*", options={"no-wait": True})
    status, line = check()
    assert status == CRITICAL and "migrations are not seen" in line


def test_breached(well, hypervisor, root, check):
    well.start()
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", step="nothing")
    lock = root.take("04.*", options={"expected-duration-usec": 1})
    hypervisor.guest(G1, job="outgoing")
    hypervisor.hint(uuid=G1)
    root.wait_for_state(lock, "breached")
    status, line = check()
    assert status == CRITICAL and line.startswith("APMIGD CRITICAL - a migration is in progress under lock ")
    assert "migrations=1" in line


def test_recovered(well, check):
    locks = well.state / "locks"
    locks.mkdir(parents=True)
    (locks / "0a1b2c3d.json").write_text("garbage")
    well.start()
    status, line = check()
    assert status == CRITICAL and "0a1b2c3d" in line


def test_hook_is_missing(well, folder, check):
    well.start()
    (folder / "hooks" / "qemu.d" / "zz-apmigd").unlink()
    status, line = check()
    assert status == CRITICAL and "hook is not installed" in line


def test_no_apmigd(bus, check):
    status, line = check()
    assert status == CRITICAL and "apmigd does not answer" in line
