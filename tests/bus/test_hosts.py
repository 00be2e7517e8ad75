# SPDX-License-Identifier: LGPL-2.1-or-later
"""One command over many hosts. Each host is a bus of its own with apmigd-scripted; in place of ssh stands a program that
connects to that bus by the name of the host, and can hang, fail or be cut off."""
import json
import os
import re
import signal
import subprocess
import time

import pytest
import rig
from rig import LIMIT, SLOWER, until, uuid_of

G1 = uuid_of(1)
PATIENCE = f"{8 * SLOWER}s"  # with a host that hangs, or drains for ever; all others are done by then

OK, FAILURE, USAGE, INVALID, LOCKED, TIMEOUT, NOT_FOUND, KEYS, UNREACHABLE = 0, 1, 2, 3, 5, 7, 8, 11, 13
WOULD_DENY, LOCK_ENDED, BREACHED, BLIND, NO_GO, GO_EXCEPT = 20, 30, 31, 32, 33, 34

AES, NEW_AES = "0xb2732827c67f8ef9", "0x1111111111111111"

SSH = """#!/bin/sh
# As apmigctl calls it: ssh OPTIONS... -- HOST COMMAND...
echo "$*" >> {folder}/ssh.log
while [ "$1" != -- ]; do shift; done
host={folder}/$2
shift 2
echo $$ >> "$host/ssh.pids"
case $(cat "$host/ssh") in
hangs) exec sleep 1000 ;;
refuses) echo "ssh: connect to host port 22: No route to host" >&2; exit 255 ;;
esac
[ "$1" = systemd-stdio-bridge ] || exec env PATH="$host/bin:$PATH" "$@"
exec systemd-stdio-bridge --bus-path=unix:path="$host/bus"
"""


class Host:
    def __init__(self, world, name, policy=""):
        """policy: of its bus, after everything else"""
        self.name = name
        self.folder = world / name
        self.folder.mkdir()
        self.ssh = self.folder / "ssh"
        self.ssh.write_text("works\n")
        self.bus = rig.Bus(self.folder, policy)
        self.root = rig.Client(self.bus)
        self.nobody = rig.Client(self.bus, rig.NOBODY)
        self.daemon = rig.Daemon(self.bus, self.folder, rig.APMIGD_SCRIPTED, f"scripted:{self.folder}/hypervisor")
        self.hypervisor = rig.Hypervisor(self.folder / "hypervisor")
        self.daemon.policy(evidence_interval_usec=1000000)

    def locks(self):
        return self.root.locks()

    def busy(self):
        """A guest migrates, and nothing ends that."""
        self.hypervisor.guest(G1, name="g1", affected="yes", scope="02.0004", job="outgoing", step="nothing")

    def count_questions(self):
        """From now on: see questions()."""
        self.monitor = self.bus.monitor(f"type='method_call',interface='{rig.LOCK}',member='Check'",
                                        f"type='method_call',interface='{rig.PROPERTIES}',member='GetAll'")

    def questions(self):
        """How many times it was asked to have its hypervisor read."""
        return self.monitor.file.read_text().count('"member":"Check"')

    def approaches(self):
        """How many times that was begun, or no more than a look."""
        return self.monitor.file.read_text().count('"member":"GetAll"')

    def close(self):
        self.hypervisor.disconnect()
        try:
            if self.daemon.process and self.daemon.process.poll() is None:
                self.daemon.process.send_signal(signal.SIGCONT)
            self.daemon.close()
        finally:
            self.bus.process.send_signal(signal.SIGCONT)
            self.bus.close()
            if self.daemon.log.exists():
                print(f"--- {self.name}", self.daemon.log.read_text(), sep="\n")


class World:
    def __init__(self, folder):
        self.folder = folder
        self.hosts = {}
        self.processes = []
        (folder / "bin").mkdir()
        ssh = folder / "bin" / "ssh"
        ssh.write_text(SSH.format(folder=folder))
        ssh.chmod(0o755)

    def add(self, *names, keys=False, policy=""):
        for name in names:
            self.hosts[name] = host = Host(self.folder, name, policy)
            if keys:
                host.daemon.copy_sysfs()
                host.daemon.end_strangers()
        for name in names:
            self.hosts[name].daemon.spawn()
        for name in names:
            self.hosts[name].daemon.wait_for_notification("READY=1")
        return [self.hosts[name] for name in names]

    def start(self, *arguments, hosts=None):
        """Over all hosts, or over those."""
        environment = {**os.environ, **rig.ENVIRONMENT, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        process = subprocess.Popen([rig.APMIGCTL, "--hosts", ",".join(hosts or self.hosts), *arguments], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.processes.append(process)
        return process

    def ctl(self, *arguments, hosts=None):
        """(exit status, standard output, standard error)"""
        return end(self.start(*arguments, hosts=hosts))

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(LIMIT)
            process.stdout.close()
            process.stderr.close()
        for host in self.hosts.values():
            host.close()
        for pids in self.folder.glob("*/ssh.pids"):
            for pid in pids.read_text().split():
                try:
                    if b"sleep" in open(f"/proc/{pid}/cmdline", "rb").read():
                        os.kill(int(pid), signal.SIGKILL)
                except (FileNotFoundError, ProcessLookupError):
                    pass


def end(process):
    out, err = process.communicate(timeout=3 * LIMIT)
    return process.returncode, out, err


@pytest.fixture
def world(folder):
    world = World(folder)
    yield world
    world.close()


@pytest.fixture
def three(world):
    return world.add("a", "b", "c")


def lock(*more, change="CHG1", scope="02.*"):
    return ("lock", scope, "AES rotation", "--change-id", change, *more)


def rows(out):
    """The lines of a table by their first word."""
    return {line.split()[0]: line for line in out.splitlines()}


# --- lock, ready, unlock ----------------------------------------------------------------------------


def test_a_change_on_three_hosts(world, three):
    status, out, err = world.ctl(*lock())
    assert (status, out.splitlines()[-1]) == (OK, "GO: all 3 hosts hold the lock of change CHG1."), out + err
    for host in three:
        assert [(found["scope"], found["state"], found["reason"]) for found in host.locks()] == [
            ("02.*", "held", "AES rotation")]
        assert re.search(rf"^{host.name} +{host.locks()[0]['id']} +held ", out, re.M)
        assert f"{host.name}: held\n" in err
    assert "02.* covers no AP queue and no guest of a, b, c: is the scope as it was meant?" in err
    assert world.ctl("ready", "CHG1")[0] == OK
    assert world.ctl("wait", "CHG1")[0] == OK
    status, out, err = world.ctl("--quiet", "unlock", "CHG1")
    assert (status, out, err) == (OK, "Released: the lock of change CHG1 on 3 hosts.\n", "")
    assert [host.locks() for host in three] == [[], [], []]
    assert world.ctl("ready", "CHG1")[0] == NOT_FOUND
    assert world.ctl("unlock", "CHG1")[0] == NOT_FOUND


def test_ssh_asks_for_no_password_and_takes_user_and_port(world, three):
    hosts = ["root@c:2222", "a", "b"]
    (world.folder / "root@c").symlink_to("c")
    assert world.ctl(*lock(), hosts=hosts)[0] == OK
    lines = (world.folder / "ssh.log").read_text().splitlines()
    assert [line for line in lines if "BatchMode=yes" not in line] == []
    assert [line.split(" -p ")[1] for line in lines if " -p " in line] == ["2222 -- root@c systemd-stdio-bridge"]


def test_one_host_that_cannot_be_reached(world, three):
    three[1].ssh.write_text("refuses\n")
    status, out, err = world.ctl(*lock())
    assert status == UNREACHABLE
    assert "b: its system bus cannot be reached: ssh says: ssh: connect to host port 22: No route to host" in out
    assert out.splitlines()[-1].startswith("NO-GO: ") and "nothing was locked" in out
    assert [three[0].locks(), three[2].locks()] == [[], []]
    assert "TakeLock" not in three[0].daemon.read_log()


def test_one_host_that_hangs_is_named_after_its_own_deadline(world, three):
    """The others are done, and say so; its ssh is ended."""
    three[1].ssh.write_text("hangs\n")
    status, out, err = world.ctl("--host-timeout", PATIENCE, "status")
    assert status == UNREACHABLE
    assert "b: it has not answered within " in err
    found = rows(out)
    assert all(re.search(r" complete | connected ", found[name]) for name in "ac")
    assert "it has not answered within" in found["b"]
    pid = int((three[1].folder / "ssh.pids").read_text())
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of its ssh")


def test_one_host_is_locked_by_another_user(world, three):
    """It is seen before anything is taken, so no migration is ended for nothing."""
    three[2].root.take("02.0004", "somebody else's", {"change-id": "CHG1"})
    status, out, err = world.ctl(*lock())
    assert status == LOCKED
    assert "somebody else's" in rows(out)["c"]
    assert "nothing was locked" in out
    assert [three[0].locks(), three[1].locks()] == [[], []]


def test_one_host_drains_for_ever(world, three):
    """What this run has made is released, by name."""
    three[1].busy()
    status, out, err = world.ctl(*lock("--timeout", PATIENCE, "--on-busy=wait"))
    assert status == TIMEOUT, out + err
    assert "b: draining: " in err
    assert "; released again: a, c" in out.splitlines()[-1]
    assert [host.locks() for host in three] == [[], [], []]


def test_only_what_this_run_made_is_released(world, three):
    assert world.ctl(*lock(), hosts=["c"])[0] == OK
    before = three[2].locks()
    three[1].busy()
    status, out, err = world.ctl(*lock("--timeout", PATIENCE, "--on-busy=wait"))
    assert status == TIMEOUT
    assert "; released again: a; left as an earlier run had made it: c." in out
    assert (three[0].locks(), three[1].locks(), three[2].locks()) == ([], [], before)


def test_the_first_host_decides_between_two_runs(world, three):
    """Who does not get it has asked for nothing on the others."""
    three[0].busy()
    first = world.start(*lock("--timeout=10min", "--on-busy=wait", change="CHG1"))
    three[0].root.wait_for_lock(state="draining")
    status, out, err = world.ctl(*lock(change="CHG2"))
    assert status == LOCKED
    assert "nothing was locked" in out
    until(lambda: len(three[2].locks()) == 1, "the others' turn")
    three[0].hypervisor.guest(G1, job="none")
    status, out, err = end(first)
    assert status == OK, out + err
    assert [found["id"] for host in three for found in host.locks()] == re.findall(r"^[abc] +(\w+)", out, re.M)


def test_two_runs_at_once(world, three):
    """Of two that race, one at most has all hosts, and the other one has left nothing."""
    runs = [world.start(*lock(change=change)) for change in ("CHG1", "CHG2")]
    statuses = [end(run)[0] for run in runs]
    assert sorted(statuses) in ([OK, LOCKED], [LOCKED, LOCKED])
    changes = {host.root.lock(found["path"])["ChangeId"] for host in three for found in host.locks()}
    assert changes == {change for change, status in zip(("CHG1", "CHG2"), statuses) if status == OK}


def test_two_consoles_of_one_change(world, three):
    """The second one finds what the first one has made, waits with it, and would release none of it."""
    three[1].busy()
    consoles = [world.start("--json=short", *lock("--timeout=10min", "--on-busy=wait"))]
    for host, state in zip(three, ("held", "draining", "held")):
        host.root.wait_for_lock(state=state)
    consoles.append(world.start("--json=short", *lock("--timeout=10min", "--on-busy=wait")))
    while "b: draining, by an earlier run" not in (line := consoles[1].stderr.readline()):
        assert line, "it has ended"
    three[1].hypervisor.guest(G1, job="none")
    ends = [end(console) for console in consoles]
    assert [status for status, _, _ in ends] == [OK, OK]
    assert [[host["Made"] for host in json.loads(out)["Hosts"]] for _, out, _ in ends] == [3 * [True], 3 * [False]]


def test_a_console_that_dies_half_way_is_run_again(world, three):
    """What was held stays, what drained is withdrawn, and the same command goes on."""
    three[1].busy()
    console = world.start(*lock("--timeout=10min", "--on-busy=wait"))
    for host, state in zip(three, ("held", "draining", "held")):
        host.root.wait_for_lock(state=state)
    console.kill()
    until(lambda: three[1].locks() == [], "the request of the dead console to be withdrawn")
    held = [three[0].locks(), three[2].locks()]
    assert world.ctl("ready", "CHG1")[0] == NO_GO
    three[1].hypervisor.guest(G1, job="none")
    status, out, err = world.ctl("--json=short", *lock())
    assert status == OK
    assert [host["Made"] for host in json.loads(out)["Hosts"]] == [False, True, False]
    assert [three[0].locks(), three[2].locks()] == held
    assert "by an earlier run" in err


def test_a_host_that_dies_between_go_and_ready(world, three):
    assert world.ctl(*lock())[0] == OK
    three[1].bus.end()
    status, out, err = world.ctl("ready", "CHG1")
    assert status == UNREACHABLE
    assert out.splitlines()[-1].startswith("NO-GO: 2 of 3 hosts hold the lock. There is no answer of b (")
    status, out, err = world.ctl("unlock", "CHG1")
    assert status == UNREACHABLE
    assert [len(host.locks()) for host in (three[0], three[2])] == [1, 1]


def test_apmigd_that_hangs_between_go_and_ready(world, three):
    assert world.ctl(*lock())[0] == OK
    three[1].daemon.process.send_signal(signal.SIGSTOP)
    status, out, err = world.ctl("ready", "CHG1", "--scope", "02.*", "--host-timeout", PATIENCE)
    assert status == UNREACHABLE
    assert re.search("not answered within|no answer within", rows(out)["b"])
    assert out.splitlines()[-1].startswith("NO-GO: 2 of 3")


def test_a_host_that_hangs_while_it_is_locked(world, three):
    """Nobody knows then whether it has the lock, and that is said."""
    three[1].busy()
    console = world.start(*lock("--timeout=10min", "--host-timeout", PATIENCE, "--on-busy=wait"))
    three[1].root.wait_for_lock(state="draining")
    three[0].root.wait_for_lock(state="held")
    three[2].root.wait_for_lock(state="held")
    three[1].daemon.process.send_signal(signal.SIGSTOP)
    status, out, err = end(console)
    assert status == UNREACHABLE
    assert "; released again: a, c; it is not known whether it is locked: b." in out
    assert [three[0].locks(), three[2].locks()] == [[], []]


def test_a_host_that_says_no_weighs_more_than_one_that_is_silent(world, three):
    assert world.ctl(*lock())[0] == OK
    three[0].root.release(three[0].locks()[0]["path"])
    three[1].ssh.write_text("refuses\n")
    assert world.ctl("ready", "CHG1")[0] == NO_GO


def test_all_but_one_host(world, three):
    three[1].ssh.write_text("refuses\n")
    status, out, err = world.ctl(*lock("--except", "b"))
    assert status == GO_EXCEPT
    assert out.splitlines()[-1].startswith("GO-EXCEPT: 2 of 3 hosts hold the lock of change ")
    assert out.splitlines()[-1].endswith("the keys of b must not be changed.")
    assert "left out" in rows(out)["b"]
    assert world.ctl("ready", "CHG1", "--except=b")[0] == GO_EXCEPT
    assert world.ctl("ready", "CHG1")[0] == UNREACHABLE
    assert world.ctl("unlock", "CHG1", "--except=b")[0] == OK


def test_one_machine_under_two_names(world, three):
    (world.folder / "c2").symlink_to("c")
    assert world.ctl(*lock())[0] == OK
    status, out, err = world.ctl("ready", "CHG1", hosts=["a", "b", "c", "c2"])
    assert status == NO_GO
    assert "c and c2 are the same machine" in out


def test_a_lock_of_other_queues(world, three):
    assert world.ctl(*lock(), hosts=["a", "b"])[0] == OK
    assert world.ctl(*lock(scope="02.0004"), hosts=["c"])[0] == OK
    status, out, err = world.ctl("ready", "CHG1")
    assert status == USAGE and "change 'CHG1' has locks on 02.* and 02.0004: say which with --scope" in err
    assert world.ctl("ready", "CHG1", "--scope=02.*")[0] == NO_GO


def test_locks_that_drain_are_waited_for_later(world, three):
    three[1].busy()
    status, out, err = world.ctl(*lock("--no-wait", "--on-busy=wait"))
    assert status == NO_GO
    assert "draining" in rows(out)["b"] and "the locks stay" in err
    assert world.ctl("wait", "CHG1", "--timeout=1s")[0] == TIMEOUT
    three[1].hypervisor.guest(G1, job="none")
    assert world.ctl("wait", "CHG1")[0] == OK
    for host in three:
        host.root.release(host.locks()[0]["path"])
    assert world.ctl("wait", "CHG1", "--scope=02.*")[0] == LOCK_ENDED


# --- keys across hosts ------------------------------------------------------------------------------


@pytest.fixture
def keyed(world):
    """Two hosts with the hardware and keys of the sample host."""
    return world.add("a", "b", keys=True)


def change_key(host, pattern):
    host.daemon.set_mkvps("02.0004", **{"AES_CUR": f"valid {pattern}"})


def test_keys_that_differ_keep_all_locks(world, keyed):
    assert world.ctl(*lock())[0] == OK
    change_key(keyed[0], NEW_AES)
    status, out, err = world.ctl("unlock", "CHG1")
    assert status == KEYS
    sentence = out.splitlines()[-1]
    assert sentence.startswith("The master keys are not in step: ")
    assert all(word in sentence for word in ("02.0004", "AES", f"{AES}", NEW_AES, "a", "b"))
    assert [host.locks()[0]["state"] for host in keyed] == ["held", "held"]
    change_key(keyed[1], NEW_AES)
    status, out, err = world.ctl("unlock", "CHG1")
    assert status == OK, out + err
    assert "Not verified: AP queues 02.0005" in out
    assert out.endswith("Released: the lock of change CHG1 on 2 hosts.\n")


def test_keys_that_differ_and_are_meant_to(world, keyed):
    """With force no key is asked for, and each host writes it down as it does for its own."""
    assert world.ctl(*lock())[0] == OK
    change_key(keyed[0], NEW_AES)
    assert world.ctl("unlock", "CHG1", "--force")[0] == OK
    assert [host.locks() for host in keyed] == [[], []]
    assert all("force" in host.daemon.read_log() for host in keyed)


def test_a_host_that_tells_no_keys_keeps_all_locks(world, keyed):
    assert world.ctl(*lock())[0] == OK
    keyed[1].ssh.write_text("refuses\n")
    status, out, err = world.ctl("unlock", "CHG1")
    assert status == UNREACHABLE
    assert out.splitlines()[-1].startswith("There is no answer of b (")
    assert len(keyed[0].locks()) == 1
    status, out, err = world.ctl("unlock", "CHG1", "--force")
    assert status == UNREACHABLE
    assert "Not released on all hosts: the lock of change CHG1 on 1 hosts; it is there yet, or may be, on b (" in out
    assert keyed[0].locks() == []


def test_keys_are_compared_without_a_lock(world, keyed):
    status, out, err = world.ctl("keys", "--compare", "02.*")
    assert status == OK
    assert re.search(rf"^02\.0004 +AES +CUR +in-step +a, b: {AES}$", out, re.M)
    assert re.search(r"^02\.0005 +AES +CUR +unknown +unknown: a, b$", out, re.M)
    change_key(keyed[1], NEW_AES)
    until(lambda: world.ctl("keys", "02.*")[0] == KEYS, "the new key")
    status, out, err = world.ctl("--json=short", "keys", "02.*")
    answer = json.loads(out)
    assert (status, answer["Verdict"]) == (KEYS, "DIFFER")
    found = [key for key in answer["Keys"] if key["Standing"] == "differs"]
    assert [(key["Queue"], key["Class"], key["Register"]) for key in found] == [("02.0004", "AES", "CUR")]
    assert {value["Value"]: value["Hosts"] for value in found[0]["Values"]} == {AES: ["a"], NEW_AES: ["b"]}
    keyed[0].ssh.write_text("refuses\n")
    assert world.ctl("keys", "02.*")[0] == UNREACHABLE


# --- the other verbs --------------------------------------------------------------------------------


def test_what_there_is(world, three):
    assert world.ctl("list") == (OK, "No host that answers has a lock.\n", "")
    assert world.ctl(*lock(), hosts=["a", "b"])[0] == OK
    three[2].ssh.write_text("refuses\n")
    status, out, err = world.ctl("list")
    assert status == UNREACHABLE
    assert re.search(r"^a +\w{8} +CHG1 +02\.\* +held +root +\d.* AES rotation$", out, re.M)
    assert re.search(r"^c: its system bus cannot be reached: ssh says: ", out, re.M)
    status, out, err = world.ctl("status", "--json=short")
    assert status == UNREACHABLE
    assert [(host["Host"], host["Answered"], host.get("Locks")) for host in json.loads(out)["Hosts"]] == [
        ("a", True, 1), ("b", True, 1), ("c", False, None)]


def test_a_guest_is_looked_for(world, three):
    three[1].hypervisor.guest(G1, name="g1", affected="yes", scope="02.0004")
    status, out, err = world.ctl("check", "g1")
    assert status == OK
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["a", "not", "here"], ["b", "may", "move"], ["c", "not", "here"]]
    assert world.ctl("check", "g2")[0] == NOT_FOUND
    assert world.ctl(*lock())[0] == OK
    status, out, err = world.ctl("check", "g1")
    assert status == WOULD_DENY
    assert "may not move" in rows(out)["b"] and "AES rotation" in rows(out)["b"]


def test_the_doctor_is_called_on_each_host(world, three):
    """It is the apmigctl of that host, which sees its files."""
    for host, text, status in zip(three, ("all is well", "the hook is missing", ""), (0, 1, 0)):
        (host.folder / "bin").mkdir()
        program = host.folder / "bin" / "apmigctl"
        program.write_text(f'#!/bin/sh\n[ "$*" = doctor ] || exit 9\necho "{text}"\nexit {status}\n')
        program.chmod(0o755)
    three[2].ssh.write_text("refuses\n")
    status, out, err = world.ctl("doctor")
    assert status == FAILURE
    assert out.splitlines()[:3] == ["a: all is well", "b: see below", "    the hook is missing"]
    assert out.splitlines()[3] == "c: cannot be asked"


# --- wait, watch ------------------------------------------------------------------------------------

QUIET = 30  # seconds after which a host that tells nothing is asked nevertheless


def start_watch(world, *arguments):
    """Of a lock that all hosts hold."""
    watch = world.start("watch", "CHG1", *arguments)
    assert " GO: all " in watch.stdout.readline()
    return watch


def test_a_watch_asks_whoever_tells_of_a_change(world, three):
    """And nobody else, and nobody while nothing changes."""
    assert world.ctl(*lock())[0] == OK
    for host in three:
        host.count_questions()
    began = time.monotonic()
    watch = start_watch(world)
    time.sleep(10)
    asked = [host.questions() for host in three]
    assert asked == [1, 1, 1] or time.monotonic() - began > QUIET
    three[2].root.call(three[2].locks()[0]["path"], rig.LOCK, "Annotate", "sa{sv}", "call 4711", "0")
    until(lambda: three[2].questions() > asked[2], "the question to the one that has changed", 15 * SLOWER)
    assert [host.questions() for host in three[:2]] == asked[:2] or time.monotonic() - began > QUIET
    three[2].root.release(three[2].locks()[0]["path"])
    released = time.monotonic()
    assert "NO-GO: 2 of 3 hosts hold the lock" in watch.stdout.readline()
    assert time.monotonic() - released < QUIET / 2 * SLOWER


def test_go_is_waited_for_by_signals_and_said_of_all_at_once(world, three):
    three[1].busy()
    assert world.ctl(*lock("--no-wait", "--on-busy=wait"))[0] == NO_GO
    for host in three:
        host.count_questions()
    began = time.monotonic()
    wait = world.start("wait", "CHG1")
    assert "NO-GO: 2 of 3 hosts hold the lock" in wait.stderr.readline()
    three[1].hypervisor.guest(G1, job="none")
    status, out, err = end(wait)
    assert status == OK, out + err
    assert [three[0].questions(), three[2].questions()] == [2, 2] or time.monotonic() - began > QUIET


def test_a_host_that_is_gone_is_waited_for(world, three):
    """It is connected to again, less and less often."""
    assert world.ctl(*lock(), hosts=["a", "b"])[0] == OK
    wait = world.start("wait", "CHG1")
    assert "NO-GO: 2 of 3 hosts hold the lock" in wait.stderr.readline()
    log = world.folder / "ssh.log"
    before = log.read_text().count("-- b ")
    three[1].ssh.write_text("refuses\n")
    three[1].bus.end()
    gone = time.monotonic()
    assert "There is no answer of b" in wait.stderr.readline()
    time.sleep(8)
    tried = log.read_text().count("-- b ") - before
    assert 1 <= tried <= int(time.monotonic() - gone + 1).bit_length()  # a second after it was asked, 2 s after that, 4 s ...


def dead_children(process):
    """Those that have ended and that it has not waited for."""
    children = subprocess.run(["ps", "--ppid", str(process.pid), "-o", "stat="], capture_output=True, text=True, timeout=LIMIT)
    return [state for state in children.stdout.split() if state.startswith("Z")]


def test_apmigd_that_is_killed_and_comes_again(world, three):
    """A wait goes on, and a watch ends: what began meanwhile was not seen."""
    three[0].busy()
    assert world.ctl(*lock("--no-wait", "--on-busy=wait"))[0] == NO_GO
    wait = world.start("wait", "CHG1")
    assert "NO-GO: 2 of 3 hosts hold the lock" in wait.stderr.readline()
    three[1].daemon.kill()
    assert "There is no answer of b" in wait.stderr.readline()
    until(lambda: (world.folder / "ssh.log").read_text().count("-- b ") >= 5, "three attempts")
    until(lambda: len(dead_children(wait)) <= 1, "the earlier ssh to be waited for")
    three[1].daemon.start()
    three[0].hypervisor.guest(G1, job="none")
    status, out, err = end(wait)
    assert status == OK, out + err
    watch = start_watch(world)
    three[1].daemon.kill()
    three[1].daemon.start()
    status, out, err = end(watch)
    assert status == BLIND
    assert "what began meanwhile was not seen" in rows(out)["b"]


def test_a_host_whose_signals_are_withheld(world):
    """By its bus; it is asked when it has told nothing for as long as it may be silent."""
    hosts = world.add("a", "b", policy="""<policy user="root"><deny receive_sender="org.apmigd1" receive_type="signal"/></policy>""")
    assert world.ctl(*lock())[0] == OK
    watch = start_watch(world, "--host-timeout", PATIENCE)
    hosts[1].root.release(hosts[1].locks()[0]["path"])
    assert "NO-GO: 1 of 2 hosts hold the lock" in watch.stdout.readline()


def test_a_watched_host_that_hangs_is_named(world, three):
    assert world.ctl(*lock())[0] == OK
    watch = start_watch(world, "--host-timeout", PATIENCE)
    three[1].daemon.process.send_signal(signal.SIGSTOP)
    status, out, err = end(watch)
    assert status == BLIND
    assert "There is no answer of b (" in out


def test_a_watched_host_that_hangs_keeps_nobody_from_being_heard(world, three):
    assert world.ctl(*lock())[0] == OK
    watch = start_watch(world, "--host-timeout", PATIENCE)
    three[1].count_questions()
    three[1].daemon.process.send_signal(signal.SIGSTOP)
    until(three[1].approaches, "the question to the one that hangs")
    three[0].busy()
    three[0].hypervisor.hint(uuid=G1, name="g1")
    status, out, err = end(watch)
    assert status == BREACHED, out + err


def test_a_breach_on_any_host_ends_the_watch(world, three):
    assert world.ctl(*lock())[0] == OK
    watch = world.start("watch", "CHG1")
    assert " GO: all 3 hosts hold the lock of change " in watch.stdout.readline()
    three[1].busy()
    three[1].hypervisor.hint(uuid=G1, name="g1")
    status, out, err = end(watch)
    assert status == BREACHED, out + err
    assert "breached" in rows(out)["b"]


def test_a_host_that_is_gone_ends_the_watch(world, three):
    assert world.ctl(*lock())[0] == OK
    watch = world.start("watch", "CHG1")
    assert " GO: all 3 hosts hold the lock of change " in watch.stdout.readline()
    three[1].bus.end()
    assert end(watch)[0] == BLIND


# --- who the hosts are ------------------------------------------------------------------------------


def test_hosts_of_a_file(world, three):
    file = world.folder / "hosts"
    file.write_text("# the desk's\n\n  c  # the third\na\r\nb")
    status, out, err = run_with_file(world, file, "status", "--json=short")
    assert status == OK, err
    assert [host["Host"] for host in json.loads(out)["Hosts"]] == ["a", "b", "c"]


def run_with_file(world, file, *arguments):
    environment = {**os.environ, **rig.ENVIRONMENT, "PATH": f"{world.folder}/bin:{os.environ['PATH']}"}
    done = subprocess.run([rig.APMIGCTL, "--hosts-file", file, *arguments], capture_output=True, text=True, timeout=LIMIT,
                          env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("text, says", [
    ("a\nb\nA\n", "line 3: the host 'A' stands there twice"),
    ("a\n-oProxyCommand=x\n", "line 2: the host '-oProxyCommand=x' begins with '-'"),
    ("a\nroot@-b\n", "line 2: the host 'root@-b' begins with '-'"),
    ("a\nb c\n", "line 2: the host 'b c' has a character"),
    ("a\nb\x1b[2J\n", "line 2: the host 'b\\u{1b}[2J' has a character"),
    ("a\n@b\n", "line 2: the host '@b' is not of the form"),
    ("a\nb:99999\n", "line 2: the host 'b:99999' has a port"),
    ("a\nb\0c\n", "line 2: it has a character 0"),
    ("# nobody\n", "it names no host"),
    ("".join(f"h{i}\n" for i in range(501)), "line 501: the host 'h500' is one more than the 500"),
    ("x" * 256, "is longer than 255 bytes"),
])
def test_hosts_that_are_not_understood(world, text, says):
    file = world.folder / "hosts"
    file.write_text(text)
    status, out, err = run_with_file(world, file, "status")
    assert (status, out) == (USAGE, "")
    assert says in err


@pytest.mark.parametrize("arguments, says", [
    (("--hosts", "a,,b", "status"), "the host '' is empty"),
    (("--hosts", "a", "-H", "b", "status"), "give one of --host, --hosts and --hosts-file"),
    (("--hosts", "a,b", "--except", "c", "status"), "'c' is none of the hosts"),
    (("--hosts", "a", "--except", "a", "status"), "all hosts are left out"),
    (("--hosts", "a,b", "permit", "g1"), "there is no verb permit over many hosts"),
    (("--hosts", "a,b"), "a verb is needed"),
    (("--hosts", "a,b", "lock", "all", "why"), "--change-id is needed"),
])
def test_commands_that_are_wrong(world, arguments, says):
    done = subprocess.run([rig.APMIGCTL, *arguments], capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert says in done.stderr


def test_a_scope_that_is_wrong(world, three):
    assert world.ctl(*lock(scope="02.zz"))[0] == INVALID


def test_the_verdict_as_json(world, three):
    status, out, err = world.ctl("--json=pretty", *lock("--except=c"))
    assert status == GO_EXCEPT
    answer = json.loads(out)
    assert (answer["Verdict"], answer["ChangeId"], answer["Scope"], answer["Reasons"]) == ("GO-EXCEPT", "CHG1", "02.*", [])
    assert [(host["Host"], host["LeftOut"], host["State"], host["Made"]) for host in answer["Hosts"]] == [
        ("a", False, "held", True), ("b", False, "held", True), ("c", True, "left out", False)]
    assert answer["Warnings"] and "keys of c must not be changed" in answer["Warnings"][0]
    three[0].root.release(three[0].locks()[0]["path"])
    status, out, err = world.ctl("--json=short", "ready", "CHG1", "--except=c")
    assert status == NO_GO
    assert [(reason["Kind"], reason["Host"]) for reason in json.loads(out)["Reasons"]] == [("not-locked", "a")]


# --- many -------------------------------------------------------------------------------------------


def test_fifty_hosts_are_waited_for_at_once(world):
    """No host waits for another: all have been asked while none is held yet."""
    hosts = world.add(*(f"h{number:02}" for number in range(rig.many())))
    for host in hosts:
        host.busy()
    console = world.start(*lock("--timeout=10min", "--host-timeout=5min", "--on-busy=wait"))
    for host in hosts:
        host.root.wait_for_lock(state="draining")
    for host in hosts:
        host.hypervisor.guest(G1, job="none")
    status, out, err = end(console)
    assert status == OK, out + err
    assert out.splitlines()[-1].startswith(f"GO: all {len(hosts)} hosts hold the lock of change ")
