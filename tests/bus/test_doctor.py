# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigctl doctor: a host on which all is well, and one thing after the other that is not."""
import contextlib
import json
import os
import socket
import sys
import time

import pytest
import rig
from rig import APMIGCTL, SOURCE, domain

OK, FAILURE = 0, 1
SYSTEMD_POLICY = """<policy user="root"><allow own="org.freedesktop.systemd1"/></policy>
<policy context="default"><allow send_destination="org.freedesktop.systemd1"/></policy>"""
CHECKS = ["apmigd", "view", "queues", "keys", "stamps", "locks", "hook", "hook-runs", "hook-noticed", "hook-called", "workers", "state", "runtime",
          "permissions", "act", "helper"]


@pytest.fixture
def bus(folder):
    bus = rig.Bus(folder, SYSTEMD_POLICY)
    yield bus
    bus.close()


class Host:
    """Everything that the doctor looks at, as it should be; and the doctor."""

    def __init__(self, bus, daemon, folder):
        self.bus, self.daemon, self.folder = bus, daemon, folder
        self.hook = folder / "hooks" / "qemu.d" / "zz-apmigd"
        self.guests = folder / "status"
        self.units_file = folder / "units.json"
        self.helpers = {name: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for name in ("act", "fence")}

    def set_up(self):
        self.hook.parent.mkdir(parents=True)
        self.hook.write_text("#!/bin/sh\n")
        self.hook.chmod(0o755)
        self.guests.mkdir()
        for path in (self.daemon.config, self.daemon.policy_dir, self.hook.parent, self.hook.parent.parent):
            path.chmod(0o755)
        for name, helper in self.helpers.items():
            helper.bind(str(self.folder / name))
            helper.listen()
            (self.folder / name).chmod(0o600)
        self.units(libvirtd=("active", self.now()))
        self.systemd = self.bus.start(sys.executable, SOURCE / "tests/bus/fake_systemd.py", self.units_file, stderr=None)
        assert self.systemd.stdout.readline() == "ready\n"

    @staticmethod
    def now():
        return time.time_ns() // 1000 + 1_000_000

    def units(self, more=(), **services):
        """@more: by their whole names"""
        self.units_file.write_text(json.dumps({f"{name}.service": unit for name, unit in services.items()} | dict(more)))

    def run(self, *arguments, client=None, within=()):
        """(exit status, standard output). @within: the command line that runs it elsewhere"""
        start = client.run if client else self.bus.start
        process = start(
            *within, APMIGCTL, "doctor", "--config", self.daemon.config, "--act-socket", self.folder / "act", "--fence-socket",
            self.folder / "fence", *arguments,
            environment={"STATE_DIRECTORY": str(self.daemon.state), "RUNTIME_DIRECTORY": str(self.daemon.runtime)})
        out, err = process.communicate(timeout=rig.LIMIT)
        assert err == ""
        return process.returncode, out

    def severities(self):
        """By check, those that are not as they should be: what status --check judges by."""
        findings = json.loads(self.run("--json=short")[1])["Findings"]
        return {f["Check"]: f["Severity"] for f in findings if f["Severity"] != "information"}

    def monitor(self):
        """(exit status, the line) of status --check"""
        process = self.bus.start(APMIGCTL, "status", "--check")
        out = process.communicate(timeout=rig.LIMIT)[0]
        return process.returncode, out

    def findings(self, **options):
        """By check: the verdict, the text, the remedy. The exit status says whether all is well."""
        status, out = self.run("--json=short", **options)
        answer = json.loads(out)
        assert answer["Well"] == (status == OK) and status in (OK, FAILURE)
        assert answer["Well"] == all(f["Verdict"] == "ok" for f in answer["Findings"])
        assert all(bool(f["Remedy"]) == (f["Verdict"] != "ok") for f in answer["Findings"])
        return {f["Check"]: (f["Verdict"], f["Text"], f["Remedy"]) for f in answer["Findings"]}

    def troubles(self, **options):
        return {check: what for check, what in self.findings(**options).items() if what[0] != "ok"}


@contextlib.contextmanager
def running_host(bus, daemon, folder):
    daemon.configure(StatusDirectory=folder / "status")
    host = Host(bus, daemon, folder)
    host.set_up()
    daemon.start()
    yield host
    for helper in host.helpers.values():
        helper.close()


@pytest.fixture
def host(bus, daemon, hypervisor, folder):
    with running_host(bus, daemon, folder) as host:
        yield host


def test_all_is_well(host):
    assert host.troubles() == {}
    assert list(host.findings()) == CHECKS
    status, out = host.run()
    assert status == OK and [line.split()[:2] for line in out.splitlines()] == [["ok", check] for check in CHECKS]
    assert host.run("--quiet") == (OK, "")


def close_hook(host):
    host.hook.chmod(0o644)


def give_hook_away(host):
    os.chown(host.hook, 1, 1)


def open_hook(host):
    host.hook.chmod(0o775)


def spoil_interpreter(host):
    host.hook.write_text("#!/bin/shell -e\n")


def spoil_hook(host):
    host.hook.write_text("exit 0\n")


def remove_hook(host):
    host.hook.unlink()


def crowd(host):
    for number in range(12):
        (host.guests / f"g{number}.xml").touch()
    (host.folder / "libvirtd.conf").write_text("#max_workers = 99\n max_workers=21 # of one\n")


def open_state(host):
    host.daemon.state.chmod(0o755)


def give_runtime_away(host):
    os.chown(host.daemon.runtime, 1, 1)


def open_policy(host):
    (host.daemon.policy_dir / "50-more.json").touch()
    (host.daemon.policy_dir / "50-more.json").chmod(0o666)


def remove_helper(host):
    (host.folder / "fence").unlink()


def leave_helper(host):
    host.helpers["fence"].close()


def open_helper(host):
    (host.folder / "fence").chmod(0o666)


def remove_act(host):
    (host.folder / "act").unlink()


def leave_act(host):
    host.helpers["act"].close()


def open_act(host):
    (host.folder / "act").chmod(0o666)


def spoil_config(host):
    host.daemon.config.write_text(host.daemon.config.read_text() + "[Hok]\n")


@pytest.mark.parametrize("spoil, check, text, remedy", [
    (close_hook, "hook", "is not executable", "chmod 755 "),
    (remove_hook, "hook", "does not exist", "reinstall"),
    (give_hook_away, "permissions", "zz-apmigd", "chown root "),
    (open_hook, "permissions", "zz-apmigd", "chmod go-w "),
    (spoil_interpreter, "hook-runs", "no guest at all: /bin/shell", "install that program"),
    (spoil_hook, "hook-runs", "is no script", "reinstall"),
    (crowd, "workers", "up to 21 calls", "max_workers = 22 in "),
    (open_state, "state", "open to others", "chmod 700 "),
    (give_runtime_away, "runtime", "belongs to the user 1", "chown -R 0 "),
    (open_policy, "permissions", "50-more.json", "chmod go-w "),
    (remove_helper, "helper", "No such file", "systemctl enable --now apmigd-fence.socket"),
    (leave_helper, "helper", "nobody listens", "systemctl restart apmigd-fence.socket"),
    (open_helper, "helper", "not apmigd's alone", "systemctl restart apmigd-fence.socket"),
    (remove_act, "act", "No such file", "systemctl enable --now apmigd-act.socket"),
    (leave_act, "act", "nobody listens", "systemctl restart apmigd-act.socket"),
    (open_act, "act", "not apmigd's alone", "systemctl restart apmigd-act.socket"),
    (spoil_config, "config", "[Hok]", "apmigd --check-config"),
], ids=lambda value: value.__name__ if callable(value) else None)
def test_one_thing_is_wrong(host, spoil, check, text, remedy):
    """It is told, with its remedy, and nothing else is."""
    spoil(host)
    host.units(libvirtd=("active", host.now()))  # since the hook is as it is
    troubles = host.troubles()
    if spoil is spoil_config:  # then the hook is looked for where libvirt has it by default
        troubles = {"config": troubles["config"]}
    assert list(troubles) == [check]
    assert troubles[check][0] == "problem" and text in troubles[check][1] and remedy in troubles[check][2]
    status, out = host.run("--quiet")
    assert status == FAILURE and f"PROBLEM  {check}" in out and "-> " in out


def test_hook_where_nothing_is_executed(host):
    within = ["unshare", "-m", "sh", "-c", f'mount --bind {host.hook.parent} {host.hook.parent} && '
              f'mount -o remount,bind,noexec {host.hook.parent} && exec "$@"', "sh"]
    verdict, text, remedy = host.troubles(within=within)["hook-runs"]
    assert verdict == "problem" and "no guest at all" in text and "noexec" in text and f"findmnt -T {host.hook}" in remedy


HOOK, OURS = "system_u:object_r:virt_hook_t:s0", "system_u:object_r:apmigd_hook_exec_t:s0"


@pytest.mark.parametrize("allowed, flags, label, well", [("ffffffff", "0", OURS, True), ("fffdffff", "0", HOOK, False),
                                                         ("0", "1", HOOK, True)], ids=["may", "may-not", "permissive"])
def test_hook_under_selinux(host, allowed, flags, label, well):
    """What virtqemud may not execute is no hook for it, and every guest comes in."""
    host.units(virtqemud=("active", host.now() + 600_000_000))  # the script that it sees is a copy, of now
    within = [sys.executable, SOURCE / "tests/bus/fake_selinux.py", allowed, flags, host.hook, label, host.folder / "question"]
    troubles = host.troubles(within=within)
    assert (host.folder / "question").read_text() == f"system_u:system_r:virtqemud_t:s0 {label} 7"
    assert list(troubles) == ([] if well else ["hook-runs"])
    if not well:
        assert "come in unasked" in troubles["hook-runs"][1] and HOOK in troubles["hook-runs"][1]
        assert f"restorecon -v {host.hook}" in troubles["hook-runs"][2]


def test_workers_that_suffice(host):
    crowd(host)
    (host.folder / "libvirtd.conf").write_text("max_workers = 22\n")
    assert host.troubles() == {}


def test_hook_that_libvirt_has_not_noticed(host, root):
    """One that came after libvirt had looked for hooks; unless it is called nonetheless."""
    host.units(virtqemud=("active", host.hook.stat().st_ctime_ns // 1000 - 1))
    verdict, text, remedy = host.troubles()["hook-noticed"]
    assert verdict == "problem" and text.startswith("virtqemud runs since ") and remedy == "systemctl reload virtqemud"
    root.admit(domain())
    assert host.troubles() == {}


def test_another_hook_that_was_there_before(host):
    """libvirt looks for all of them when it has found one."""
    earlier = host.hook.with_name("50-other")
    earlier.write_text("#!/bin/sh\n")
    earlier.chmod(0o755)
    host.hook.unlink()
    time.sleep(0.01)
    host.hook.write_text("#!/bin/sh\n")
    host.hook.chmod(0o755)
    host.units(libvirtd=("active", host.hook.stat().st_ctime_ns // 1000 - 1))
    assert host.troubles() == {}


def test_libvirt_does_not_run(host):
    """It looks for hooks when it starts, whenever that is."""
    host.units(libvirtd=("inactive", 5))
    assert host.troubles() == {}


def test_systemd_does_not_tell(host):
    host.systemd.kill()
    host.systemd.wait(rig.LIMIT)
    assert host.troubles()["hook-noticed"][0] == "unknown"


def test_libvirt_is_not_reached(host, hypervisor):
    hypervisor.do("lose", reason="libvirtd was stopped")
    verdict, text, remedy = host.troubles()["view"]
    assert verdict == "problem" and "no lock can be held: libvirtd was stopped" in text
    assert remedy == "systemctl status libvirtd virtqemud"


@pytest.mark.parametrize("problem, remedies", [
    ("Failed to connect socket to '/var/run/libvirt/libvirt-sock-ro': No such file or directory",
     ["unmask libvirtd-ro.socket", "start libvirtd-ro.socket libvirtd"]),
    ("Failed to connect socket to '/var/run/libvirt/virtqemud-sock-ro': Connection refused",
     ["unmask virtqemud-ro.socket", "start virtqemud-ro.socket virtqemud"]),
    ("Failed to connect socket to '/var/run/libvirt/virtqemud-sock-ro': Permission denied",
     ["SocketMode=0666 of virtqemud-ro.socket", "ausearch"]),
    ("authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.monitor'",
     ["org.libvirt.unix.monitor to the user apmigd"]),
    ("access denied", ["access_drivers"]),
], ids=["absent", "refused", "closed", "polkit", "access"])
def test_read_only_socket_is_closed(host, hypervisor, root, problem, remedies):
    """Doctor, status and ready say why, and what opens it."""
    root.take("04.*")
    hypervisor.do("lose", reason=problem)
    rig.until(lambda: root.manager()["HypervisorProblem"] == problem, "the problem")
    verdict, text, remedy = host.troubles()["view"]
    assert verdict == "problem" and problem in text and all(part in remedy for part in remedies)
    run = [host.bus.start(APMIGCTL, *command).communicate(timeout=rig.LIMIT) for command in (["status"], ["ready"])]
    assert f"Hypervisor: disconnected: {problem}\n" in run[0][0]
    assert f"What to do: {remedy}\n" in run[1][1] and "NO-GO" in "".join(run[1])


def test_read_only_socket_is_masked(host):
    """Also while a connection from before lasts."""
    host.daemon.configure(StatusDirectory=host.guests, URI="qemu:///system")  # what the doctor reads
    host.units(libvirtd=("active", host.now()), more={"libvirtd-ro.socket": ("masked", 0)})
    verdict, text, remedy = host.troubles()["read-only"]
    assert verdict == "problem" and "libvirtd-ro.socket is masked" in text and "unmask libvirtd-ro.socket" in remedy


def test_guest_that_an_access_driver_hides(host, hypervisor):
    """It runs by libvirt's pid file, and apmigd does not see it; one whose QEMU has ended is none."""
    gone = host.bus.start("true")
    gone.wait(rig.LIMIT)
    for name, pid in (("seen", os.getpid()), ("hidden", os.getpid()), ("ended", gone.pid)):
        (host.guests / f"{name}.pid").write_text(f"{pid}\n")
    hypervisor.guest(rig.uuid_of(1), name="seen", affected="no")
    verdict, text, remedy = host.troubles()["guests"]
    assert verdict == "problem" and "('hidden')" in text and "access driver" in remedy
    hypervisor.guest(rig.uuid_of(2), name="hidden", affected="no")
    assert host.troubles() == {}


@pytest.fixture
def libvirts(bus, folder):
    """A host with a real libvirt: its test driver."""
    daemon = rig.Daemon(bus, folder, rig.APMIGD_SCRIPTED, "test:///default")
    with running_host(bus, daemon, folder) as host:
        yield host
    daemon.close()
    print(daemon.read_log())


def test_guest_that_is_not_listed(libvirts, root):
    """By libvirt's status folder it runs: apmigd says that it does not see all guests, and no lock is held."""
    assert libvirts.findings()["view"][0] == "ok"
    status = libvirts.guests / "hidden.xml"
    status.touch()
    call = root.start_take(options={"no-wait": True})
    rig.until(lambda: root.manager()["HypervisorProblem"], "the problem")
    assert root.manager()["HypervisorState"] != "disconnected"
    verdict, text, remedy = libvirts.troubles()["view"]
    assert verdict == "problem" and "libvirt does not tell apmigd of all guests, and no lock can be held: " in text
    assert "does not list guest 'hidden'" in text and "have libvirt's access driver show every guest" in remedy
    assert libvirts.severities()["view"] == "error" and root.lock(call.answer()[0])["State"] == "draining"
    status.unlink()
    root.wait_for_lock(state="held")
    assert libvirts.troubles().keys() <= {"locks"}  # it covers nothing


def test_queues_of_a_guest_that_libvirt_does_not_know(host):
    host.daemon.stop()
    host.daemon.copy_sysfs()
    host.daemon.start()
    verdict, text, remedy = host.troubles()["queues"]
    assert verdict == "problem" and "02.0005" in text and "apmigctl queues" in remedy


def test_another_host_with_the_same_id(host, root):
    verdict, text, remedy = host.findings()["stamps"]
    own = root.manager()["HostId"]
    assert verdict == "ok" and own in text and "rests on /etc/machine-id alone" in text
    root.admit((SOURCE / "tests/data/stamp/good-locked.xml").read_text().replace(
        'host="11111111-1111-4111-8111-111111111111"', f'host="{own}"'))
    verdict, text, remedy = host.troubles()["stamps"]
    assert verdict == "problem" and "another host has the same id" in text and "systemd-machine-id-setup" in remedy
    assert host.severities() == {"stamps": "warning"} and host.monitor()[0] == 1


def test_monitoring_judges_the_same_findings(host, hypervisor, root):
    """Where apmigd tells them: with the same weight, the worst first, in the same words."""
    assert host.severities() == {} and host.monitor()[0] == 0
    lock = root.take("04.*", options={"expected-duration-usec": 1})
    rig.until(lambda: root.lock(lock)["Overdue"], "the lock to be overdue")
    assert host.severities() == {"locks": "warning"}
    assert host.troubles()["locks"][0] == "problem" and "apmigctl unlock" in host.troubles()["locks"][2]
    assert host.monitor()[0] == 1
    hypervisor.do("lose", reason="libvirtd was stopped")
    assert host.severities() == {"view": "error", "locks": "warning"}
    status, line = host.monitor()
    said = {check: text for check, (_, text, _) in host.troubles().items()}
    assert status == 2 and line.startswith(
        f"APMIGD CRITICAL - {said['view'].rstrip('.')}; what goes on under lock {lock[-8:]} is not known: ")
    assert f"; l{said['locks'].rstrip('.')[1:]} | locks=1 " in line  # the overdue one comes after it


def test_apmigd_does_not_run(host):
    host.daemon.stop()
    troubles = host.troubles()
    assert troubles["apmigd"][0] == "problem" and "systemctl status apmigd" in troubles["apmigd"][2]


def test_ordinary_users_may_ask(host, nobody):
    """What they cannot look at is unknown, or is seen by apmigd."""
    host.hook.parent.parent.chmod(0o700)
    troubles = host.troubles(client=nobody)
    assert set(troubles) == {"hook-noticed", "permissions"}
    assert {trouble[0] for trouble in troubles.values()} == {"unknown"}
    assert {trouble[2] for trouble in troubles.values()} == {"run this as root"}
