# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook script and 'apmigctl hook', as libvirt runs them, with every kind of missing counterpart.

What they promise libvirt: nothing on standard output, no child left behind, an end within the deadline, and for
every operation but migrate and restore: success, whatever is broken.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

import proc
import pytest
import rig

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("APMIGD_BUILD", ROOT / "build" / "plain"))
APMIGCTL = BUILD / "dbus" / "ctl" / "apmigctl"
PEER = pathlib.Path(__file__).with_name("silent_peer.py")
UUID = "1b826c23-8767-47ad-a6b5-c83a88277f71"

MDEV = """<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-ap'>
  <source><address uuid='a1b2c3d4-f1bb-47f0-914d-000000000101'/></source></hostdev>"""
METADATA = "<metadata><apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='04.0012'/></metadata>"


def domain(devices="", metadata=""):
    return (f"<domain type='kvm'><name>g1</name><uuid>{UUID}</uuid>{metadata}<memory>1048576</memory>"
            f"<os><type>hvm</type></os><devices><graphics type='vnc' passwd='geheim'/>{devices}</devices>"
            "</domain>\n").encode()


UNAFFECTED = domain()
AFFECTED = [pytest.param(domain(devices=MDEV), id="device"), pytest.param(domain(metadata=METADATA), id="metadata")]
BY_DEVICE = domain(devices=MDEV)
BY_COMMAND_LINE = UNAFFECTED.replace(
    b"</domain>", b"<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-device'/>"
    b"<qemu:arg value='vfio-ap,sysfsdev=/sys/bus/mdev/devices/a1b2c3d4-f1bb-47f0-914d-000000000101'/></qemu:commandline></domain>")
ENTITIES = (b"<!DOCTYPE domain [<!ENTITY a 'vfio-'><!ENTITY b 'ap'>]>" +
            BY_DEVICE.replace(b"'vfio-ap'", b"'&a;&b;'"))

# Without a vfio-ap device and an element of ours, and odd otherwise: libvirt 9.0 takes the first of them from its clients and
# hands them on so; the last can only come from another hook script.
ODD = {
    "name with a tab": UNAFFECTED.replace(b">g1<", b">g\t1<"),
    "name with CR": UNAFFECTED.replace(b">g1<", b">g\r1<"),
    "name with C1": UNAFFECTED.replace(b">g1<", b">g\xc2\x9b1<"),
    "long name": UNAFFECTED.replace(b">g1<", b">" + b"g" * 300 + b"<"),
    "deep metadata": domain(metadata="<metadata>" + "<a>" * 3000 + "</a>" * 3000 + "</metadata>"),
    "UUID with blanks": UNAFFECTED.replace(UUID.encode(), b" " + UUID.replace("-", " ").encode() + b"\n"),
    "UUID without dashes": UNAFFECTED.replace(UUID.encode(), UUID.replace("-", "").encode()),
    "UUID in upper case": UNAFFECTED.replace(UUID.encode(), UUID.upper().encode()),
    "no UUID": UNAFFECTED.replace(f"<uuid>{UUID}</uuid>".encode(), b""),
    "no name": UNAFFECTED.replace(b"<name>g1</name>", b""),
    "two names": UNAFFECTED.replace(b"<name>", b"<name>g0</name><name>"),
    "document type": b"<!DOCTYPE domain SYSTEM 'domain.dtd' [<!ELEMENT domain ANY>]>" + UNAFFECTED,
    "entity of nobody": UNAFFECTED.replace(b"hvm", b"&nobody;"),
    "Latin": b"<?xml version='1.0' encoding='ISO-8859-1'?>" + UNAFFECTED.replace(b"hvm", b"\xfc"),
    "no UTF-8": UNAFFECTED.replace(b"hvm", b"\xfc"),
    "UTF-16": UNAFFECTED.decode().encode("utf-16"),
    "upper case": domain(devices=MDEV.upper()),
    "long": UNAFFECTED + b" " * (5 << 20),
    "nothing": b"",
    "no XML": b"not XML",
    "cut off": UNAFFECTED[:-20],
    "more than one": UNAFFECTED * 2,
}

# Where much is read, which a busy machine takes its time for; not what any test is about.
PATIENT = "[Hook]\nTimeout=30\n"

# Operation, suboperation: everything of virHookQemuOpType in libvirt's src/util/virhook.c but the two we answer, what
# the daemon and network hooks get, and what a later libvirt may bring.
OTHER_OPERATIONS = [("prepare", "begin"), ("start", "begin"), ("started", "begin"), ("stopped", "end"),
                    ("release", "end"), ("reconnect", "begin"), ("attach", "begin"), ("shutdown", "-"),
                    ("reload", "begin"), ("migrate-later", "begin"), ("", "")]


@pytest.fixture
def bus(tmp_path):
    """A bus without apmigd. Gives its process; bus.address is its address."""
    services = tmp_path / "services"
    services.mkdir()
    config = tmp_path / "bus.conf"
    config.write_text(f"""<busconfig><type>system</type><listen>unix:path={tmp_path}/bus</listen>
        <servicedir>{services}</servicedir>
        <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/>
        <allow user='*'/></policy></busconfig>""")
    process = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
                               stdout=subprocess.PIPE, text=True)
    process.address = process.stdout.readline().strip().split(",")[0]
    process.services = services
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def peer(bus):
    """Starts the counterpart in one of its modes."""
    started = []

    def start(*args):
        process = subprocess.Popen([sys.executable, PEER, *map(str, args)], stdout=subprocess.PIPE, text=True,
                                   env={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()


class Host:
    """A host's hook script, with its paths moved, and what libvirt sees of a run of it."""

    def __init__(self, folder):
        self.folder = folder
        self.address = f"unix:path={folder}/no-bus"
        self.state = folder / "state"
        self.config = folder / "apmigd.conf"
        self.configure("[Hook]\nTimeout=1\n")
        self.script = folder / "zz-apmigd"
        self.use_apmigctl(APMIGCTL)

    def configure(self, text):
        self.config.write_text(text)

    def use_apmigctl(self, path):
        text = (ROOT / "dbus" / "hook" / "zz-apmigd").read_text()
        for old, new in [("apmigctl=/usr/bin/apmigctl\n", f"apmigctl={path}\n"),
                         ("locks=/var/lib/apmigd/locks\n", f"locks={self.state}/locks\n"),
                         ('"$apmigctl" hook -- "$@"', f'"$apmigctl" hook --config {self.config} -- "$@"')]:
            assert text.count(old) == 1
            text = text.replace(old, new)
        self.script.write_text(text)
        self.script.chmod(0o755)

    def broken_apmigctl(self, text, mode=0o755):
        path = self.folder / "apmigctl"
        path.write_text(text)
        path.chmod(mode)
        self.use_apmigctl(path)

    def leave_lock(self, name):
        (self.state / "locks").mkdir(parents=True)
        (self.state / "locks" / name).write_text("{}")

    def run(self, *arguments, **options):
        """Returns exit status and standard error; of what libvirt takes for another XML there is nothing."""
        status, out, err = self.run_with_output(*arguments, **options)
        assert out == b""
        return status, err

    def run_with_output(self, operation, xml, guest="g1", suboperation="begin", limit=1 + rig.LIMIT / 4):
        """Returns exit status, standard output and error; the rest of what libvirt is promised is asserted here.

        What does not answer here never does: a limit far above Timeout= tells that no less than one of it does.
        """
        begin = time.monotonic()
        process = subprocess.Popen([self.script, guest, operation, suboperation, "-"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                   env={"PATH": "/bin:/usr/bin", "LC_ALL": "C", "STATE_DIRECTORY": str(self.state),
                                        "RUNTIME_DIRECTORY": str(self.folder / "run"), "DBUS_SYSTEM_BUS_ADDRESS": self.address})
        try:
            out, err = process.communicate(xml, timeout=70 * rig.SLOWER)
        finally:
            process.kill()
            process.wait()
        assert time.monotonic() - begin < limit
        assert session_members(process.pid) == []
        return process.returncode, out, err.decode()


def session_members(session):
    members = []
    for path, stat in proc.read_all("/proc/[0-9]*/stat").items():
        fields = stat.rpartition(")")[2].split()
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(path.parent.name)
    return members


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def assert_denied(result, *texts):
    status, err = result
    assert status == 1, err
    assert err.startswith("apmigd: guest 'g1' may not come in: ")
    assert err.endswith("\n") and err.count("\n") == 1
    for text in texts:
        assert text in err


def assert_let_in_with_warning(result, text):
    status, err = result
    assert status == 0, err
    assert err.startswith("apmigd: guest 'g1' is let in unasked: ") and err.count("\n") == 1
    assert text in err


# --- operations that are none of ours ------------------------------------------------------------------


@pytest.mark.parametrize("operation,suboperation", OTHER_OPERATIONS)
def test_other_operations_always_pass(host, operation, suboperation):
    """Whatever is broken: libvirt refuses or kills the guest if a hook fails here."""
    host.use_apmigctl(host.folder / "missing")
    host.leave_lock("1a2b3c4d.json")
    for xml in (BY_DEVICE, UNAFFECTED, b"", b"no XML"):
        assert host.run(operation, xml, suboperation=suboperation) == (0, "")


@pytest.mark.parametrize("args", [[], ["g1"], ["g1", "start"]])
def test_missing_arguments_pass(host, args):
    done = subprocess.run([host.script, *args], input=BY_DEVICE, capture_output=True, timeout=10 * rig.SLOWER)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- apmigctl cannot run -------------------------------------------------------------------------------

BROKEN = {
    "missing": None,
    "not executable": ("#!/bin/sh\nexit 0\n", 0o644),
    "no interpreter": ("#!/no/such/interpreter\n", 0o755),
    "killed halfway": ("#!/bin/sh\nhead -c 10 >/dev/null\nkill -KILL $$\n", 0o755),
    "refuses its arguments": ("#!/bin/sh\nexit 2\n", 0o755),
}


@pytest.fixture(params=BROKEN)
def broken_host(host, request):
    if BROKEN[request.param]:
        host.broken_apmigctl(*BROKEN[request.param])
    else:
        host.use_apmigctl(host.folder / "missing")
    return host


@pytest.mark.parametrize("xml", AFFECTED)
def test_broken_affected(broken_host, xml):
    assert_denied(broken_host.run("migrate", xml), "does not run", "reinstall apmigd")
    assert_let_in_with_warning(broken_host.run("restore", xml), "does not run")


@pytest.mark.parametrize("operation", ["migrate", "restore"])
def test_broken_unaffected(broken_host, operation):
    assert broken_host.run(operation, UNAFFECTED) == (0, "")


@pytest.mark.parametrize("file", ["1a2b3c4d.json", ".in-use"])
def test_broken_restore_under_lock(broken_host, file):
    broken_host.leave_lock(file)
    assert_denied(broken_host.run("restore", BY_DEVICE), file)


def test_broken_restore_with_unreadable_state(broken_host):
    broken_host.state.mkdir()
    (broken_host.state / "locks").write_text("a file where the folder should be")
    assert_denied(broken_host.run("restore", BY_DEVICE), "cannot be read")


@pytest.mark.parametrize("operation", ["migrate", "restore"])
def test_broken_odd(broken_host, operation):
    for xml in ODD.values():
        assert broken_host.run(operation, xml, limit=rig.LIMIT) == (0, "")


def test_broken_hidden(broken_host):
    assert_denied(broken_host.run("migrate", BY_COMMAND_LINE))
    assert_denied(broken_host.run("migrate", ENTITIES))


def test_broken_and_long(broken_host):
    """Where the part that was read does not tell, the guest counts as affected."""
    assert broken_host.run("migrate", UNAFFECTED + b" " * (5 << 20), limit=rig.LIMIT) == (0, "")
    assert_denied(broken_host.run("migrate", UNAFFECTED + b" " * (5 << 20) + BY_DEVICE, limit=rig.LIMIT))


def test_broken_and_too_long(host):
    host.use_apmigctl(host.folder / "missing")
    assert_denied(host.run("migrate", UNAFFECTED + b" " * (64 << 20), limit=3 * rig.LIMIT))


def test_broken_names_are_harmless(broken_host):
    status, err = broken_host.run("migrate", BY_DEVICE, guest="-g\x1b[31m%s\\n")
    assert status == 1 and err.count("\n") == 1
    assert "'-g [31m%s\\n'" in err


# --- the bus, and who is on it -------------------------------------------------------------------------


def test_no_bus(host):
    assert_denied(host.run("migrate", BY_DEVICE), "apmigd does not answer", "systemctl start apmigd",
                  "OnUnreachable=allow")
    assert_let_in_with_warning(host.run("restore", BY_DEVICE), "apmigd does not answer")


def test_unaffected_never_needs_the_bus(host):
    assert host.run("migrate", UNAFFECTED) == (0, "")
    assert host.run("restore", UNAFFECTED) == (0, "")


def test_bus_without_apmigd(host, bus):
    host.address = bus.address
    assert_denied(host.run("migrate", BY_DEVICE), "apmigd does not answer", "org.apmigd1")


def test_bus_that_is_stopped(host, bus):
    host.address = bus.address
    bus.send_signal(signal.SIGSTOP)
    assert_denied(host.run("migrate", BY_DEVICE), "no answer within 1 s")


def test_silent_apmigd(host, bus, peer):
    host.address = bus.address
    peer("silent")
    assert_denied(host.run("migrate", BY_DEVICE), "no answer within 1 s")
    assert_let_in_with_warning(host.run("restore", BY_DEVICE), "no answer within 1 s")
    host.configure(PATIENT)
    assert host.run("migrate", UNAFFECTED) == (0, "")  # which does not wait as long


def test_apmigd_that_is_stopped(host, bus, peer):
    host.address = bus.address
    peer("allow", host.folder / "record").send_signal(signal.SIGSTOP)
    assert_denied(host.run("migrate", BY_DEVICE), "no answer within 1 s")


def test_activation_that_hangs(host, bus):
    (bus.services / "org.apmigd1.service").write_text("[D-BUS Service]\nName=org.apmigd1\nExec=/bin/sleep 3\n")
    host.address = bus.address
    assert_denied(host.run("migrate", BY_DEVICE), "no answer within 1 s")


@pytest.mark.parametrize("operation", ["migrate", "restore"])
def test_allowed(host, bus, peer, operation):
    """And only what is needed went over the bus."""
    host.address = bus.address
    peer("allow", host.folder / "record")
    for xml in (BY_DEVICE, domain(metadata=METADATA)):
        assert host.run(operation, xml) == (0, "")
        sent = (host.folder / "record").read_text()
        assert UUID in sent and "g1" in sent
        assert "geheim" not in sent and "graphics" not in sent and "memory" not in sent
        assert ("a1b2c3d4" in sent) == (xml == BY_DEVICE)


@pytest.mark.parametrize("operation", ["migrate", "restore"])
def test_denied(host, bus, peer, operation):
    """The reason is shown in one line, without what a terminal would act on."""
    host.address = bus.address
    peer("deny", host.folder / "record")
    result = host.run(operation, BY_DEVICE)
    assert_denied(result, "locked by root", "lock 1a2b3c4d", "\\u{1b}[31m")
    assert "\x1b" not in result[1]


# --- configuration and state ---------------------------------------------------------------------------


def test_allow_unreachable(host):
    host.configure("[Hook]\nTimeout=1\nOnUnreachable=allow\n")
    assert_let_in_with_warning(host.run("migrate", BY_DEVICE), "apmigd does not answer")


@pytest.mark.parametrize("file", ["1a2b3c4d.json", ".in-use"])
def test_allow_unreachable_under_lock(host, file):
    host.configure("[Hook]\nTimeout=1\nOnUnreachable=allow\n")
    host.leave_lock(file)
    assert_denied(host.run("migrate", BY_DEVICE), "apmigd does not answer", "lock", "apmigctl status")
    assert host.run("migrate", UNAFFECTED) == (0, "")


def test_allow_unreachable_with_unreadable_state(host):
    host.configure("[Hook]\nTimeout=1\nOnUnreachable=allow\n")
    host.state.mkdir()
    (host.state / "locks").write_text("a file where the folder should be")
    assert_denied(host.run("migrate", BY_DEVICE), "cannot be read")


def test_broken_configuration_is_strict(host):
    host.configure("[Hook]\nOnUnreachable=perhaps\n")
    status, err = host.run("migrate", BY_DEVICE)
    assert status == 1
    assert "OnUnreachable" in err.splitlines()[0]
    assert "may not come in" in err.splitlines()[1]
    assert host.run("migrate", UNAFFECTED)[0] == 0


@pytest.mark.parametrize("file", ["1a2b3c4d.json", "damaged", ".in-use"])
def test_restore_under_lock(host, file):
    host.leave_lock(file)
    assert_denied(host.run("restore", BY_DEVICE), "apmigd does not answer", "lock", "apmigctl status")
    assert host.run("restore", UNAFFECTED) == (0, "")


def test_restore_with_unreadable_state(host):
    host.state.mkdir()
    (host.state / "locks").write_text("a file where the folder should be")
    assert_denied(host.run("restore", BY_DEVICE), "cannot be read")


def test_restore_with_a_marker_that_cannot_be_read(host):
    """Only what is certainly not there is no lock: it is a link to itself."""
    (host.state / "locks").mkdir(parents=True)
    (host.state / "locks" / ".in-use").symlink_to(".in-use")
    assert_denied(host.run("restore", BY_DEVICE), "cannot be read")


def test_restore_after_release(host):
    (host.state / "locks").mkdir(parents=True)
    assert_let_in_with_warning(host.run("restore", BY_DEVICE), "apmigd does not answer")


# --- hostile input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["migrate", "restore"])
@pytest.mark.parametrize("xml", [pytest.param(xml, id=name) for name, xml in ODD.items()])
def test_odd_and_unaffected(host, xml, operation):
    """It comes in, and nothing is said of it."""
    host.configure(PATIENT)
    host.leave_lock("1a2b3c4d.json")
    assert host.run(operation, xml, limit=rig.LIMIT) == (0, "")


@pytest.mark.parametrize("xml", [BY_DEVICE[:-20], BY_DEVICE * 2, b"\xff\xfe" + BY_DEVICE, domain(metadata=METADATA)[:-20],
                                 BY_DEVICE.replace(b"<domain ", b"<network ").replace(b"</domain>", b"</network>")])
def test_malformed_and_affected(host, xml):
    """libvirt writes no such XML, so another script is named."""
    assert_denied(host.run("migrate", xml))
    assert_let_in_with_warning(host.run("restore", xml), "")
    assert_denied(host.run("migrate", BY_DEVICE[:-20]), "hook scripts that run before")


@pytest.mark.parametrize("name, say", [("a&#9;b", "--dname"), ("g1</name><name>g2", "more than one <name>")])
def test_affected_with_an_odd_name(host, name, say):
    assert_denied(host.run("migrate", BY_DEVICE.replace(b">g1<", b">" + name.encode() + b"<")), say)


def test_affected_with_another_spelling_of_its_uuid(host, bus, peer):
    host.address = bus.address
    peer("allow", host.folder / "record")
    assert host.run("migrate", BY_DEVICE.replace(UUID.encode(), UUID.replace("-", " ").upper().encode())) == (0, "")
    assert UUID in (host.folder / "record").read_text()


@pytest.mark.parametrize("xml", [BY_COMMAND_LINE, BY_COMMAND_LINE.replace(b"vfio-ap", b"vfio&#45;ap"),
                                 BY_COMMAND_LINE.replace(b"vfio-ap", b'{"driver":"vfio\\u002dap"}')])
def test_command_line(host, xml):
    assert_denied(host.run("migrate", xml), "apmigd does not answer")


def test_entities_are_not_expanded(host):
    bomb = b"<!DOCTYPE domain [<!ENTITY a 'aaaaaaaaaa'>" + b"".join(
        f"<!ENTITY {chr(98 + i)} '{('&' + chr(97 + i) + ';') * 10}'>".encode() for i in range(9))
    assert_denied(host.run("migrate", bomb + b"]>" + BY_DEVICE.replace(b"g1", b"&j;")), "entities")
    assert_denied(host.run("migrate", ENTITIES), "entities", "hook scripts that run before")


def test_20_mib_of_xml(host):
    host.configure(PATIENT)
    comment = b"<!--" + b"x" * (20 << 20) + b"-->"
    assert_denied(host.run("migrate", BY_DEVICE + comment, limit=rig.LIMIT), "more than 4194304")
    assert_denied(host.run("migrate", comment + BY_DEVICE, limit=rig.LIMIT), "more than 4194304")
    assert host.run("migrate", UNAFFECTED + comment, limit=rig.LIMIT) == (0, "")


@pytest.mark.parametrize("guest", ["--help", "-", "$(touch x)", "a b", "ü", "a\x1b[2J"])
def test_odd_names(host, guest):
    status, err = host.run("migrate", BY_DEVICE, guest=guest)
    assert status == 1
    assert "\x1b" not in err and err.count("\n") == 1
    assert guest.replace("\x1b", "\\u{1b}") in err


def test_input_that_never_ends(host):
    """Without the script, whose caller closes its input."""
    begin = time.monotonic()
    reader, writer = os.pipe()
    try:
        done = subprocess.run([APMIGCTL, "hook", "--config", host.config, "g1", "migrate", "begin", "-"],
                              stdin=reader, capture_output=True, timeout=rig.LIMIT)
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 1 and done.stdout == b""
    assert b"did not come in time" in done.stderr
    assert time.monotonic() - begin < 1 + rig.LIMIT / 4


def test_apmigctl_that_is_stopped(host, bus, peer):
    """It ends all the same, and the script decides."""
    host.address = bus.address
    peer("silent")
    host.broken_apmigctl(f'#!/bin/sh\nsh -c "sleep 0.5; kill -STOP $$" &\nexec {APMIGCTL} "$@"\n')
    assert_denied(host.run("migrate", BY_DEVICE), "does not run", "status 137")


# --- the command line ----------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["g1"], ["g1", "migrate", "begin"], ["g1", "migrate", "begin", "-", "more"],
                                  ["--no-such-option", "g1", "migrate", "begin", "-"]])
def test_usage(args):
    """Neither 0 nor 1, which are answers."""
    done = subprocess.run([APMIGCTL, "hook", *args], input=BY_DEVICE, capture_output=True, timeout=10 * rig.SLOWER)
    assert done.returncode == 2 and done.stdout == b""
    assert b"--help" in done.stderr


def test_hook_starts_fast(host):
    """Neither libvirt nor GIO is loaded for it."""
    libraries = subprocess.run(["ldd", APMIGCTL], capture_output=True, text=True, check=True).stdout
    assert "libsystemd" in libraries
    assert not any(name in libraries for name in ("libvirt", "libgio", "libjson"))


def test_script_is_clean():
    if subprocess.run(["sh", "-c", "command -v shellcheck"], stdout=subprocess.DEVNULL).returncode != 0:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", ROOT / "dbus" / "hook" / "zz-apmigd"], check=True)
