# SPDX-License-Identifier: LGPL-2.1-or-later
"""Configuration and policy: what is refused and how it is said; reload; and what systemd is told."""
import json
import os
import pathlib
import signal

import pytest
import rig
from rig import until, uuid_of

POLICY_GARBAGE = {
    "empty": (b"", "50-test.json:1:1"),
    "binary": (b"\x00\x01\x02\xff" * 100, "50-test.json:1:1: this byte is no UTF-8, or is 0"),
    "no UTF-8": (b'{"on-busy": "\xff"}', "no UTF-8"),
    "2 MiB": (b'{"on-busy": "abort"}' + b" " * (2 * 1024 * 1024), "50-test.json: it has 1048577 bytes, at most 1048576"),
    "no object": (b"[]", "50-test.json:1:1: the text is to be one object"),
    "two objects": (b"{}{}", "there is text after the end of the object"),
    "truncated": (b'{"on-busy": "abort"', "the text ends before its object does"),
    "comment": (b"{} // mine", "text after the end"),
    "single quotes": (b"{'on-busy': 'wait'}", "this is no JSON"),
    "a key twice": (b'{"max-locks": 1,\n "max-locks": 2}', '50-test.json:2: the key "max-locks" stands twice'),
    "deep": (b'{"steps": ' + b"[" * 5000 + b"]" * 5000 + b"}", "levels of objects and arrays"),
    "unknown key": (b'{"on-bussy": "wait"}', "$.on-bussy is no key of a policy"),
    "wrong type": (b'{"max-locks": "many"}', "$.max-locks must be an integer from 1 to 1024"),
    "out of range": (b'{"max-locks": 0}', "$.max-locks must be an integer from 1 to 1024"),
    "no integer": (b'{"max-locks": 1.5}', "$.max-locks must be an integer"),
    "huge number": (b'{"max-locks": 99999999999999999999999999}', "50-test.json"),
    "bad word": (b'{"on-busy": "perhaps"}', '$.on-busy is "perhaps" but must be one of "abort", "wait" and "refuse"'),
    "bad step": (b'{"steps": [{"step": "reset", "deadline-usec": 5000000}]}', "$.steps[0].step"),
    "no step": (b'{"steps": []}', "$.steps"),
    "escape sequence": (b'{"\\u001b[31m": 1}', "is no key of a policy"),
}

CONFIG_GARBAGE = {
    "unknown group": ("[Libvrt]\nURI=test:///default\n", "unknown group [Libvrt]"),
    "unknown key": ("[Libvirt]\nUrl=test:///default\n", "[Libvirt] Url= is an unknown key"),
    "empty URI": ("[Libvirt]\nURI=\n", "[Libvirt] URI= must not be empty"),
    "relative folder": ("[Libvirt]\nHooksDirectory=hooks\n", '[Libvirt] HooksDirectory= must be an absolute path, not "hooks"'),
    "bad timeout": ("[Hook]\nTimeout=0\n", "[Hook] Timeout= must be a number of seconds from 1 to 60"),
    "timeout with unit": ("[Hook]\nTimeout=5s\n", "[Hook] Timeout="),
    "bad word": ("[Hook]\nOnUnreachable=maybe\n", '[Hook] OnUnreachable= must be "deny" or "allow", not "maybe"'),
    "no key file": ("URI=test:///default\n", "apmigd.conf"),
    "binary": ("\x01\x02\x03", "apmigd.conf"),
    "large": ("#" * 70000, "it has more than 65536 bytes"),
}


def run(daemon, *arguments):
    """(exit status, standard error) of the daemon's program with its configuration."""
    process = daemon.bus.start(daemon.program, "--config", daemon.config, "--policy-dir", daemon.policy_dir, *arguments)
    out, err = process.communicate(timeout=rig.LIMIT)
    assert out == ""
    return process.returncode, err


# --- checking ---------------------------------------------------------------------------------------


def test_good_configuration_passes_the_check(daemon):
    daemon.policy(on_busy="wait", max_locks=3)
    daemon.config.write_text("[Libvirt]\nURI=test:///default\nHooksDirectory=/etc/libvirt/hooks\nStatusDirectory=\n"
                             "[Hook]\nTimeout=10\nOnUnreachable=allow\n")
    assert run(daemon, "--check-config") == (0, "")
    assert not daemon.state.exists()  # looked at only


def test_shipped_files_pass_the_check(daemon):
    daemon.config.write_bytes((rig.SOURCE / "systemd" / "apmigd.conf").read_bytes())
    (daemon.policy_dir / "default.json").write_bytes((rig.SOURCE / "policy/rules/default.json").read_bytes())
    assert run(daemon, "--check-config") == (0, "")


def test_missing_files_are_the_default_only_where_nobody_named_them(daemon):
    daemon.policy_dir.rmdir()
    assert run(daemon, "--check-config") == (0, "")
    daemon.config.unlink()
    status, err = run(daemon, "--check-config")
    assert status == 1 and str(daemon.config) in err


@pytest.mark.parametrize("garbage", POLICY_GARBAGE)
def test_policy_garbage_is_named(daemon, bus, garbage):
    """The same sentence from the check and from the start, which fails and leaves nothing."""
    content, said = POLICY_GARBAGE[garbage]
    file = daemon.policy_dir / "50-test.json"
    file.write_bytes(content)
    status, err = run(daemon, "--check-config")
    assert status == 1
    assert err.startswith(f"apmigd: {file}") and said in err
    assert len(err.splitlines()) == 1 and err.strip().isprintable() and len(err) < 1000
    daemon.spawn()
    assert daemon.wait() == 1
    assert "cannot start: " in daemon.read_log() and said in daemon.read_log()
    assert not daemon.state.exists() and not bus.has_name()


@pytest.mark.parametrize("garbage", CONFIG_GARBAGE)
def test_configuration_garbage_is_named(daemon, bus, garbage):
    content, said = CONFIG_GARBAGE[garbage]
    daemon.config.write_text(content)
    status, err = run(daemon, "--check-config")
    assert status == 1
    assert str(daemon.config) in err and said in err and len(err.splitlines()) == 1
    daemon.spawn()
    assert daemon.wait() == 1
    assert said in daemon.read_log() and not daemon.state.exists()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: os.mkfifo(path),
                                  lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("/nonexistent")],
                         ids=["folder", "FIFO", "device", "dangling link"])
def test_what_is_no_file_is_named_and_keeps_nobody_waiting(daemon, hypervisor, root, make):
    file = daemon.policy_dir / "50-test.json"
    make(file)
    status, err = run(daemon, "--check-config")
    assert status == 1 and err.startswith(f"apmigd: {file}: ")
    file.rename(file.with_suffix(".off"))
    daemon.start()
    file.with_suffix(".off").rename(file)
    assert "The old policy stays in force" in daemon.reload()
    assert root.locks() == []


@pytest.mark.parametrize("arguments", [["--libvirt-url", "x"], ["stray"], ["--config"]], ids=str)
def test_bad_command_line(daemon, arguments):
    status, err = run(daemon, *arguments)
    assert status == 2 and "see apmigd --help" in err


def test_later_files_go_over_earlier_ones(daemon, hypervisor, root):
    (daemon.policy_dir / "10-site.json").write_text('{"max-locks": 1, "on-busy": "refuse"}')
    (daemon.policy_dir / "20-host.json").write_text('{"max-locks": 2}')
    (daemon.policy_dir / "README").write_text("not JSON, and not read")
    (daemon.policy_dir / ".30-draft.json").write_text("neither")
    daemon.start()
    root.take("01.0001")
    root.take("02.0001")
    assert root.start_take("03.0001").error().short == "LimitExceeded"
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", scope="04.0012", job="outgoing")
    root.release(root.locks()[0]["path"])
    assert root.start_take("04.*").error().short == "Busy"


# --- reload -----------------------------------------------------------------------------------------


def test_reload_takes_the_new_policy(daemon, hypervisor, root):
    daemon.start()
    lock = root.take("01.0001")
    daemon.policy(max_locks=1)
    root.release(root.take("02.0001"))
    assert "READY=1" in daemon.reload()
    assert root.start_take("02.0001").error().short == "LimitExceeded"
    assert root.lock(lock)["State"] == "held"
    reloading = [n for n in daemon.notified if "RELOADING=1" in n]
    assert len(reloading) == 1 and "MONOTONIC_USEC=" in reloading[0]
    assert "policy reloaded" in daemon.read_log()


@pytest.mark.parametrize("garbage", ["binary", "2 MiB", "a key twice", "unknown key"])
def test_reload_of_a_bad_policy_keeps_the_old_one_and_says_so(daemon, hypervisor, root, garbage):
    content, said = POLICY_GARBAGE[garbage]
    daemon.policy(max_locks=1)
    daemon.start()
    lock = root.take("01.0001")
    (daemon.policy_dir / "50-test.json").write_bytes(content)
    notification = daemon.reload()
    assert "STATUS=The old policy stays in force: " in notification and said in notification
    assert "the old policy stays in force" in daemon.read_log()
    assert root.start_take("02.0001").error().short == "LimitExceeded"
    assert root.lock(lock)["State"] == "held"
    daemon.policy(max_locks=2)
    assert "STATUS=\n" in daemon.reload() + "\n"  # the old trouble is over
    root.take("02.0001")


def test_reload_while_draining_changes_what_is_asked_for(daemon, hypervisor, root):
    daemon.policy(on_busy="wait")
    daemon.start()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing")
    taking = root.start_take()
    root.wait_for_migration(guest="g1")
    assert hypervisor.calls("step") == []
    daemon.policy(on_busy="abort")
    daemon.reload()
    taking.answer()
    assert len(hypervisor.calls("step")) == 1


# --- what systemd is told ---------------------------------------------------------------------------


def test_ready_is_said_once_the_name_is_there_and_the_locks_are_read(daemon, hypervisor, root, bus):
    daemon.start()
    assert bus.has_name()
    path = root.take()
    daemon.restart()
    assert [lock["path"] for lock in root.locks()] == [path]
    assert daemon.read_notifications() == ["READY=1"]


def test_ready_does_not_wait_for_the_hypervisor(daemon, hypervisor, root):
    """It is started before libvirtd."""
    hypervisor.initially({"do": "lose", "reason": "not up yet"})
    daemon.start()
    assert root.manager()["HypervisorState"] == "disconnected"


def test_not_ready_without_the_name(daemon, bus):
    first = rig.Daemon(bus, daemon.folder / "first", daemon.program, daemon.uri + "-first").start()
    daemon.spawn()
    assert daemon.wait() == 1
    assert daemon.notified == []
    first.stop()


def test_stopping_is_said(daemon, hypervisor):
    daemon.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon.process.send_signal(number)
        daemon.wait_for_notification("STOPPING=1")
        assert daemon.process.wait(rig.LIMIT) == 0
        daemon.start()


def test_nothing_is_executed(daemon, hypervisor, bus, folder):
    """By a filter that every thread has, of apmigd and of apmigd-act, whoever starts them."""
    daemon.start()
    act = rig.Act(bus, folder, "test:///default").start()
    if "cannot forbid to execute programs" in daemon.read_log():
        pytest.skip("the kernel has no seccomp filters")
    for process in (daemon.process, act.process):
        for status in pathlib.Path(f"/proc/{process.pid}/task").glob("*/status"):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "1")


def test_watchdog_is_fed(daemon, hypervisor, root):
    daemon.start(WATCHDOG_USEC="400000")
    until(lambda: daemon.read_notifications().count("WATCHDOG=1") >= 3, "three signs of life")
    root.take()
    seen = daemon.read_notifications().count("WATCHDOG=1")
    until(lambda: daemon.read_notifications().count("WATCHDOG=1") > seen + 1, "two more")


def test_watchdog_of_another_process_is_left_alone(daemon, hypervisor, root):
    daemon.start(WATCHDOG_USEC="100000", WATCHDOG_PID=str(os.getpid()))
    for _ in range(20):
        root.locks()
    assert daemon.read_notifications() == ["READY=1"]


def test_libvirt_uri_of_the_command_line_wins(daemon, hypervisor, root):
    daemon.configure(URI="test:///nonsense")
    daemon.start()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes")
    assert root.check("g1")[0] is True


def test_version(daemon):
    process = daemon.bus.start(daemon.program, "--version")
    assert process.communicate(timeout=rig.LIMIT)[0].startswith("apmigd ")


def test_lock_file_is_json_of_a_known_version(daemon, hypervisor, root):
    """What a later version will have to read."""
    daemon.start()
    path = root.take("04.*", "AES \u00e4 rotation", {"change-id": "CHG1", "on-busy": "wait", "expected-duration-usec": 5})
    record = json.loads((daemon.state / "locks" / daemon.lock_files()[0]).read_text())
    shown = root.lock(path)
    assert record == {
        "version": 1, "id": shown["Id"], "scope": "04.*", "reason": "AES \u00e4 rotation", "change-id": "CHG1",
        "origin": "request", "owner-uid": 0, "owner-name": "root", "on-busy": "wait",
        "requested-at": shown["RequestedAt"], "held-at": shown["HeldAt"], "expected-duration": 5, "breaches": 0}
    assert daemon.state.stat().st_mode & 0o777 == 0o700
