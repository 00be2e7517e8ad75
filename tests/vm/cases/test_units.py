# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigd as its users run it: the shipped unit under systemd, with its sandbox, the system bus and polkit."""

import os
import pwd
import re
import signal

import pytest
from host import wait_for
from service import AFFECTED, AS_NOBODY, MANAGER, UNIT, run, systemctl

pytestmark = pytest.mark.service
PLAIN = "<domain><name>g1</name><uuid>5c6a1b6e-0000-4000-8000-000000000001</uuid></domain>"


@pytest.fixture
def lock(apmigd):
    """The id of a held lock."""
    lock_id = apmigd.take()
    assert apmigd.locks() == {lock_id: "held"}
    return lock_id


def assert_still_held(apmigd, lock, held_at):
    """The same lock, held since the same moment; and it keeps guests out."""
    apmigd.wait_ready()
    apmigd.wait_held(lock)
    assert apmigd.held_at(lock) == held_at
    refused = apmigd.hook()
    assert refused.returncode == 1
    assert lock in refused.stderr


# --- what it runs in -----------------------------------------------------------------------------

def test_confined(apmigd):
    status = apmigd.process_status()
    user = pwd.getpwnam("apmigd").pw_uid
    assert set(status["Uid"].split()) == {str(user)}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    # In the host's network namespace alone udev's events reach it; IP is closed all the same.
    assert os.stat(f"/proc/{apmigd.pid()}/ns/net").st_ino == os.stat("/proc/1/ns/net").st_ino
    assert set(apmigd.show("RestrictAddressFamilies").split()) == {"AF_UNIX", "AF_NETLINK"}
    assert os.listdir(f"/proc/{apmigd.pid()}/root/etc/libvirt") == ["hooks"]


def test_exposure(apmigd):
    """By systemd's own measure, of the unit as it is loaded."""
    text = run("systemd-analyze", "security", "--no-pager", UNIT, check=False).stdout
    assert float(re.search(r"Overall exposure level for apmigd.service: ([\d.]+)", text)[1]) <= 2.0


def test_nothing_denied(apmigd, lock):
    """The sandbox is wide enough for all it does: nothing was refused to it, and it has not died."""
    apmigd.release(lock)
    assert apmigd.show("NRestarts") == "0"
    warnings = apmigd.journal("-u", UNIT, "-p", "warning").splitlines()
    assert [line for line in warnings if "covers no AP queue of this host" not in line] == []  # as there are none


def test_sees_hook_and_hypervisor(apmigd):
    assert apmigd.get("HookInstalled") is True
    assert apmigd.hypervisor_seen()


def test_ordered_before_the_hypervisor():
    for unit in ("libvirtd.service", "virtqemud.service"):
        assert unit in systemctl("show", "--value", "-p", "Before", UNIT).split()


def test_unprivileged_caller(apmigd):
    """May look, and may not lock."""
    denied = run(*AS_NOBODY, "busctl", "call", *MANAGER, "TakeLock", "ssa{sv}", "all", "AES rotation", 0, check=False)
    assert denied.returncode != 0
    assert "denied" in denied.stderr.lower() or "authorized" in denied.stderr.lower()
    assert apmigd.locks() == {}
    assert run(*AS_NOBODY, "busctl", "get-property", *MANAGER, "Locked").stdout.strip() == "b false"


def test_hook(apmigd, lock):
    refused = apmigd.hook()
    assert refused.returncode == 1
    assert lock in refused.stderr and "AES rotation" in refused.stderr and "root" in refused.stderr
    assert refused.stdout == ""
    assert apmigd.hook(xml=PLAIN).returncode == 0  # a yes to an affected one would stay open for a minute


def test_journal_has_explanations(apmigd, lock):
    """Entries carry the lock's id and are explained by the catalog."""
    def explained():
        text = run("journalctl", "-b", "-x", "-u", UNIT, f"LOCK_ID={lock}").stdout
        return "As far as this host is concerned, master keys in the lock's scope can be" in text and text

    assert f"Subject: Lock {lock} on master keys is held" in wait_for(explained, "the journal to have it", 20)


# --- its life ------------------------------------------------------------------------------------

def test_reload(apmigd, lock):
    held_at, pid = apmigd.held_at(lock), apmigd.pid()
    systemctl("reload", UNIT)
    assert_still_held(apmigd, lock, held_at)
    assert apmigd.pid() == pid


def test_stop_and_start(apmigd, lock):
    held_at = apmigd.held_at(lock)
    systemctl("stop", UNIT)
    assert apmigd.show("Result") == "success"
    systemctl("start", UNIT)
    assert_still_held(apmigd, lock, held_at)


def test_bus_activation(apmigd, lock):
    """The first call brings it up, the hook's too: a lock refuses even when apmigd was stopped."""
    systemctl("stop", UNIT)
    refused = apmigd.hook()
    assert refused.returncode == 1
    assert lock in refused.stderr
    apmigd.wait_ready()
    systemctl("stop", UNIT)
    assert apmigd.get("Locked", auto_start=True) is True


def test_killed(apmigd, lock):
    held_at, pid = apmigd.held_at(lock), apmigd.pid()
    apmigd.kill(signal.SIGKILL)
    wait_for(lambda: apmigd.pid() not in (0, pid), "systemd to start it again", 30, 0.3)
    assert_still_held(apmigd, lock, held_at)


def test_watchdog(apmigd, lock):
    """One that hangs is killed and started again."""
    held_at, pid = apmigd.held_at(lock), apmigd.pid()
    apmigd.kill(signal.SIGSTOP)
    wait_for(lambda: apmigd.pid() not in (0, pid), "systemd to start it again", 90, 0.5)
    wait_for(lambda: "Watchdog timeout" in apmigd.journal("-u", UNIT), "the journal to say why", 20, 0.3)
    assert_still_held(apmigd, lock, held_at)


def test_reinstalled(apmigd, lock):
    """An upgrade: files replaced under the running daemon, then a restart."""
    held_at, pid = apmigd.held_at(lock), apmigd.pid()
    run("meson", "install", "-C", "/build/project", "--no-rebuild", "--quiet", timeout=120)
    systemctl("daemon-reload")
    assert apmigd.pid() == pid
    assert apmigd.locks() == {lock: "held"}
    systemctl("restart", UNIT)
    assert_still_held(apmigd, lock, held_at)


def test_hypervisor_restarted(apmigd, lock):
    held_at, pid = apmigd.held_at(lock), apmigd.pid()
    systemctl("stop", "libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket")
    assert apmigd.hook().returncode == 1
    systemctl("start", "libvirtd.socket", "libvirtd.service")
    assert_still_held(apmigd, lock, held_at)
    assert apmigd.pid() == pid


def test_bus_policy(apmigd):
    """Only apmigd may own the name, and AdmitMigration is root's."""
    denied = run(*AS_NOBODY, "busctl", "call", *MANAGER, "AdmitMigration", "sssss", "g1", "migrate", "begin",
                 "-", AFFECTED, check=False)
    assert denied.returncode != 0


# --- its helpers ---------------------------------------------------------------------------------

ACT = "apmigd-act.service"


def test_act_comes_with_it(apmigd):
    """Nobody has started or enabled anything but apmigd: under a lock apmigd-act is there and ready, confined, and the only
    one that libvirt lets in; without a lock it ends."""
    assert systemctl("is-enabled", "apmigd-act.socket", "apmigd-fence.socket").split() == ["enabled", "enabled"]
    lock = apmigd.take()
    pid = wait_for(lambda: int(systemctl("show", "--value", "-p", "MainPID", ACT)), "apmigd-act to be started", 30, 0.3)
    wait_for(lambda: run("apmigctl", "ready", lock, check=False).returncode == 0, "apmigd-act to be ready", 30, 0.3)
    lines = open(f"/proc/{pid}/status", encoding="ascii").read().splitlines()
    status = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    assert set(status["Uid"].split()) == {str(pwd.getpwnam("apmigd-act").pw_uid)}
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for user, may in (("apmigd-act", True), ("apmigd", False), ("apmigd-fence", False)):
        listed = run("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "virsh", "-c", "qemu:///system",
                     "list", check=False)
        assert (listed.returncode == 0) == may, listed.stderr
    apmigd.release(lock)
    wait_for(lambda: systemctl("show", "--value", "-p", "ActiveState", ACT).strip() == "inactive",
             "apmigd-act to end when nobody needs it", 120, 1)
    assert systemctl("show", "--value", "-p", "Result", ACT).strip() == "success"
    lock = apmigd.take()
    wait_for(lambda: int(systemctl("show", "--value", "-p", "MainPID", ACT)), "it to be started again", 30, 0.3)
    apmigd.release(lock)


def test_without_act(apmigd):
    """Whoever stops it is told by `ready`."""
    systemctl("stop", "apmigd-act.socket", ACT)
    try:
        lock = apmigd.take()
        wait_for(lambda: run("apmigctl", "ready", lock, check=False).returncode == 33, "NO-GO", 30, 0.3)
        assert "apmigd-act.socket" in run("apmigctl", "doctor", check=False).stdout
        apmigd.release(lock)
    finally:
        systemctl("start", "apmigd-act.socket")


HELPER_OF = """
import os, socket, time

def helpers():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read() == "apmigd-fence\\n":
                yield pid
        except OSError:
            pass

peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.connect("/run/apmigd-fence.sock")
end, found = time.monotonic() + 60, []
while not found and time.monotonic() < end:
    found = list(helpers())
for pid in found:
    try:
        os.kill(int(pid), 0)
        print("can")
    except PermissionError:
        print(os.stat(f"/proc/{pid}").st_uid)
"""


def test_helper_is_out_of_reach(apmigd):
    """Not even apmigd's own user can signal it."""
    seen = run("setpriv", "--reuid=apmigd", "--regid=apmigd", "--clear-groups", "python3", "-c", HELPER_OF).stdout.split()
    assert seen == [str(pwd.getpwnam("apmigd-fence").pw_uid)]
