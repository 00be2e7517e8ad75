# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private bus with the shipped bus policy, the daemon on it, and its callers: busctl, as whatever user.

Nothing here waits for a fixed time: every wait is for a condition, with a limit after which the test fails.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import broker
import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("APMIGD_BUILD", SOURCE / "build" / "plain"))
APMIGD = BUILD / "dbus" / "apmigd"
APMIGD_ACT = BUILD / "daemon" / "act" / "apmigd-act"
APMIGD_SCRIPTED = BUILD / "tests" / "bus" / "apmigd-scripted"
APMIGCTL = BUILD / "dbus" / "ctl" / "apmigctl"

NAME = "org.apmigd1"
ROOT_PATH = "/org/apmigd1"
MANAGER = "org.apmigd1.Manager"
LOCK = "org.apmigd1.Lock"
MIGRATION = "org.apmigd1.Migration"
PROPERTIES = "org.freedesktop.DBus.Properties"
ERROR = "org.apmigd1.Error."
INSPECT = "org.apmigd1.inspect"  # polkit's action
ACCESS_DENIED = "org.freedesktop.DBus.Error.AccessDenied"

NOBODY = "nobody"  # ordinary users that every Debian has
OTHER = "daemon"
OWN_USER = "bin"  # in the place of apmigd's, which need not be there

IS_BROKER = os.environ.get("APMIGD_BUS") == "broker"  # dbus-broker in the place of dbus-daemon
SLOWER = int(os.environ.get("APMIGD_TESTS_SLOWER", "1"))  # how many times, than on the machines of today
LIMIT = 20 * SLOWER  # seconds that anything may take which should take a few milliseconds

# What GLib or a sanitizer finds ends a program at once.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "G_DEBUG": "fatal-criticals", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <!-- As /usr/share/dbus-1/system.conf has it: nobody owns a name and no call passes unless a policy says so. -->
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="bin">
    <allow own="org.apmigd1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{source}/dbus/org.apmigd1.conf</include>
  {more}
</busconfig>
"""


def until(condition, what="the condition", limit=LIMIT):
    """Waits until condition() is true and gives what it returned."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {limit} s for {what}"
        time.sleep(0.01)


class BusError(Exception):
    """An error that came as the answer to a call; name is its D-Bus name."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


def plain(value):
    """What busctl's JSON says, without the types of variants."""
    if isinstance(value, dict):
        if set(value) == {"type", "data"}:
            return plain(value["data"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def option_arguments(options):
    """{"force": True, "on-busy": "wait", "timeout-usec": 5} as the arguments of an a{sv}; a pair is (type, value)."""
    pairs = options if isinstance(options, list) else list((options or {}).items())
    arguments = [str(len(pairs))]
    for key, value in pairs:
        if isinstance(value, bool):
            value = ("b", "true" if value else "false")
        elif isinstance(value, int):
            value = ("t", value)
        elif isinstance(value, str):
            value = ("s", value)
        elif isinstance(value, dict):
            value = ("a{ss}", len(value), *(text for pair in value.items() for text in pair))
        arguments += [key, *map(str, value)]
    return arguments


class Call:
    """A call by busctl that is under way."""

    def __init__(self, process):
        self.process = process

    def answer(self, limit=LIMIT):
        """The reply's arguments; raises BusError for an error."""
        try:
            out, err = self.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if self.process.returncode == 0:
            return plain(json.loads(out)["data"]) if out.strip() else []
        # busctl tells the name of an error only in its debug messages, and so the sentence of AccessDenied.
        answers = re.findall(r"type=error .*? error-name=(\S+) error-message=(.*)", err)
        failure = re.findall(r"^Call failed: (.*)", err, re.MULTILINE | re.DOTALL)
        assert failure, err
        name, message = answers[-1] if answers else ("", "")
        if name != ACCESS_DENIED:
            message = failure[-1].split("\nBus busctl:")[0].strip()
        raise BusError(name, message)

    def error(self, limit=LIMIT):
        """The error that it must get; of apmigd's own the last part of the name is in .short."""
        try:
            reply = self.answer(limit)
        except BusError as error:
            error.short = error.name.removeprefix(ERROR)
            return error
        raise AssertionError(f"the call succeeded with {reply}")

    def is_waiting(self):
        return self.process.poll() is None

    def kill(self):
        if self.is_waiting():
            self.process.kill()
        self.process.communicate(timeout=LIMIT)


class Client:
    """Calls org.apmigd1 with busctl as a user (None: who runs the tests, that is root)."""

    def __init__(self, bus, user=None):
        self.bus = bus
        self.user = user

    def run(self, *command, **options):
        """Starts any program as this user on this bus."""
        if self.user:
            command = ("setpriv", f"--reuid={self.user}", "--regid=65534", "--clear-groups", *command)
        return self.bus.start(*command, **options)

    def start(self, path, interface, member, signature="", *arguments, timeout=3 * LIMIT):
        command = ["busctl", "--json=short", f"--timeout={timeout}", "call", NAME, path, interface, member]
        if signature:
            command += [signature, "--", *map(str, arguments)]
        return Call(self.run(*command, environment={"SYSTEMD_LOG_LEVEL": "debug"}))

    def call(self, *arguments, **options):
        return self.start(*arguments, **options).answer()

    def start_take(self, scope="all", reason="AES rotation", options=None):
        return self.start(ROOT_PATH, MANAGER, "TakeLock", "ssa{sv}", scope, reason, *option_arguments(options))

    def take(self, *arguments, **options):
        return self.start_take(*arguments, **options).answer()[0]

    def start_release(self, path, options=None):
        return self.start(ROOT_PATH, MANAGER, "ReleaseLock", "oa{sv}", path, *option_arguments(options))

    def release(self, path, options=None):
        assert self.start_release(path, options).answer() == []

    def start_declare(self, patterns, options=None):
        pairs = [text for pair in patterns.items() for text in pair]
        return self.start(ROOT_PATH, MANAGER, "DeclareKeys", "a{ss}a{sv}", len(patterns), *pairs, *option_arguments(options))

    def declare(self, patterns, options=None):
        """Returns the warnings."""
        return self.start_declare(patterns, options).answer()[0]

    def start_admit(self, xml, guest="g1", operation="migrate"):
        return self.start(ROOT_PATH, MANAGER, "AdmitMigration", "sssss", guest, operation, "begin", "-", xml)

    def queues(self):
        """By their numbers."""
        return {queue["queue"]: queue for queue in self.call(ROOT_PATH, MANAGER, "ListQueues")[0]}

    def keys(self, scope="all", **options):
        """By queue and class."""
        keys = self.call(ROOT_PATH, MANAGER, "ListKeys", "sa{sv}", scope, *option_arguments(options))[0]
        return {(key["queue"], key["class"]): key for key in keys}

    def admit(self, *arguments, **options):
        """(allowed, reason); no other device takes the place of the guest's"""
        allowed, reason, device_map = self.start_admit(*arguments, **options).answer()
        assert device_map == {}
        return allowed, reason

    def check(self, guest):
        """(allowed, reason, locks)"""
        return tuple(self.call(ROOT_PATH, MANAGER, "CheckGuest", "s", guest))

    def locks(self):
        keys = ("path", "id", "scope", "state", "reason", "uid", "since")
        return [dict(zip(keys, lock)) for lock in self.call(ROOT_PATH, MANAGER, "ListLocks")[0]]

    def migrations(self):
        keys = ("path", "guest", "uuid", "direction", "phase", "scope")
        return [dict(zip(keys, migration)) for migration in self.call(ROOT_PATH, MANAGER, "ListMigrations")[0]]

    def get(self, path, interface):
        """All properties of an object."""
        return self.call(path, PROPERTIES, "GetAll", "s", interface)[0]

    def manager(self):
        return self.get(ROOT_PATH, MANAGER)

    def lock(self, path):
        return self.get(path, LOCK)

    def migration(self, path):
        return self.get(path, MIGRATION)

    def wait_for_state(self, path, state, limit=LIMIT):
        return until(lambda: (lock := self.lock(path))["State"] == state and lock, f"{path} to be {state}", limit)

    def wait_for_lock(self, **what):
        """The one lock there is, once it has what is asked for."""
        def matches():
            locks = self.locks()
            return len(locks) == 1 and all(locks[0][key] == value for key, value in what.items()) and locks[0]
        return until(matches, f"a lock with {what}")

    def wait_for_migration(self, **what):
        def find():
            return next((m for m in self.migrations() if all(m[key] == value for key, value in what.items())), None)
        return until(find, f"a migration with {what}")

    def wait_for_result(self, path):
        return until(lambda: (migration := self.migration(path))["Result"] and migration, f"{path} to end")


class Monitor:
    """The signals of apmigd, as busctl sees them."""

    def __init__(self, bus, matches):
        self.file = bus.folder / f"signals-{len(bus.processes)}"
        with open(self.file, "wb") as out:
            self.process = bus.start("busctl", "--json=short", "monitor",
                                     *(f"--match={match}" for match in matches), stdout=out)
        while "Monitoring" not in (line := self.process.stderr.readline()):
            assert line, "busctl monitor has ended"

    def signals(self, member=None, path=None):
        """All until now: [(path, interface, member, arguments)]"""
        lines = self.file.read_text().split("\n")[:-1]
        messages = [json.loads(line) for line in lines]
        return [(m["path"], m["interface"], m["member"], plain(m["payload"]["data"])) for m in messages
                if m["type"] == "signal" and m["member"] not in ("NameLost", "NameAcquired")
                and member in (None, m["member"]) and path in (None, m["path"])]

    def wait_for(self, member, condition=lambda arguments: True):
        """The arguments of the first such signal."""
        def find():
            return next((s[3] for s in self.signals(member) if condition(s[3])), None)
        return until(find, f"signal {member}")

    def changes(self, path, name):
        """The values that a property had by PropertiesChanged."""
        return [s[3][1][name] for s in self.signals("PropertiesChanged", path) if name in s[3][1]]


class Bus:
    """A bus in a folder of its own, and everything that a test starts on it."""

    def __init__(self, folder, more=""):
        """more: of its configuration, after everything else"""
        self.folder = folder
        self.address = f"unix:path={folder}/bus"
        # Of a daemon; also for apmigctl, which would look into the machine's own without them.
        self.folders = {"STATE_DIRECTORY": f"{folder}/state", "RUNTIME_DIRECTORY": f"{folder}/run"}
        self.processes = []
        (folder / "bus.conf").write_text(BUS_CONFIG.format(folder=folder, source=SOURCE, more=more))
        self.log = open(folder / "bus.log", "wb")
        self.begin()

    def begin(self):
        if IS_BROKER:
            self.process = broker.start(self.folder)
            return
        self.process = subprocess.Popen(["dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--nopidfile",
                                         "--print-address=1"], stdout=subprocess.PIPE, stderr=self.log)
        assert self.process.stdout.readline(), (self.folder / "bus.log").read_text()

    def end(self):
        """As its service that is stopped; it may begin again."""
        self.process.terminate()
        self.process.wait(LIMIT)
        if self.process.stdout:
            self.process.stdout.close()
        (self.folder / "bus").unlink(missing_ok=True)

    def start(self, *command, environment=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options):
        process = subprocess.Popen(
            [str(word) for word in command], stdin=stdin, stdout=stdout, stderr=stderr, text=True,
            env={**os.environ, **ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": self.address, **self.folders, **(environment or {})},
            **options)
        self.processes.append(process)
        return process

    def monitor(self, *matches):
        return Monitor(self, matches or (f"type='signal',sender='{NAME}'",))

    def has_name(self, name=NAME):
        call = self.start("busctl", "--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus",
                          "NameHasOwner", "s", name)
        return json.loads(call.communicate(timeout=LIMIT)[0])["data"][0]

    def start_polkit(self, answers="yes"):
        """A fake of polkit: see fake_polkit.py."""
        polkit = FakePolkit(self)
        polkit.answers(answers)
        polkit.start()
        return polkit

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(LIMIT)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        if self.process.poll() is None:
            self.end()
        self.log.close()


class FakePolkit:
    def __init__(self, bus):
        self.bus = bus
        self.file = bus.folder / "polkit.json"
        self.log = bus.folder / "polkit.log"
        self.log.touch()

    def answers(self, answers):
        """What it says from now on: "yes", "no", "challenge", "silent" or "fail"; or of these by action, "*" for the rest."""
        answers = answers if isinstance(answers, dict) else {"*": answers}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(answers))
        new.rename(self.file)

    def start(self):
        process = self.bus.start(sys.executable, pathlib.Path(__file__).with_name("fake_polkit.py"), self.file, self.log,
                                 stderr=None)
        assert process.stdout.readline() == "ready\n"

    def all_asked(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def asked(self):
        """The questions until now, each with "action", "sender", "interactive"; or {"cancelled": id}. But for those of who reads."""
        return [question for question in self.all_asked() if question.get("action") != INSPECT]

    def asked_of_readers(self):
        return [question for question in self.all_asked() if question.get("action") == INSPECT]

    def actions(self):
        return [question["action"] for question in self.asked() if "action" in question]


class Daemon:
    """apmigd, with folders of its own; may be started again and again on them."""

    def __init__(self, bus, folder, program, uri, *arguments):
        self.bus = bus
        self.folder = folder
        self.program = program
        self.uri = uri
        self.arguments = list(arguments)
        self.state = folder / "state"
        self.runtime = folder / "run"
        self.policy_dir = folder / "policy.d"
        self.log = folder / "apmigd.log"
        self.environment = {}
        self.wrapper = []
        self.process = None
        self.notify = None
        self.notified = []
        self.policy_dir.mkdir(parents=True, exist_ok=True)
        self.sysfs = folder / "sys"
        self.config = folder / "apmigd.conf"
        self.configure()

    def configure(self, **libvirt):
        """Writes [Libvirt] keys; nothing of this machine's libvirt is looked at otherwise, nor of its sysfs."""
        keys = {"HooksDirectory": self.folder / "hooks", "StatusDirectory": "", **libvirt}
        self.config.write_text("[Libvirt]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()))

    def policy(self, **keys):
        (self.policy_dir / "50-test.json").write_text(
            json.dumps({key.replace("_", "-"): value for key, value in keys.items()}))

    def add_device(self, uuid, queues):
        """A mediated device of vfio_ap in sysfs, with queues such as "04.0012"."""
        device = self.sysfs / "bus" / "mdev" / "devices" / uuid
        device.mkdir(parents=True, exist_ok=True)
        for name in ("matrix", "guest_matrix"):
            (device / name).write_text("".join(f"{queue}\n" for queue in queues))

    def add_queue(self, name, status="assigned"):
        """An AP queue of a CEX8C that is vfio_ap's, on a bus where nothing is reserved for the host."""
        bus, matrix = self.sysfs / "bus" / "ap", self.sysfs / "devices" / "vfio_ap" / "matrix"
        queue, card = bus / "devices" / name, bus / "devices" / f"card{name[:2]}"
        files = {matrix / "features": "guest_matrix hotplug ap_config migratable", queue / "status": status,
                 card / "raw_hwtype": "14", card / "hwtype": "14", card / "type": "CEX8C"}
        files.update({folder / "ap_functions": "0x93800000" for folder in (queue, card)})
        files.update({folder / "config": "1" for folder in (queue, card)})
        files.update({folder / "chkstop": "0" for folder in (queue, card)})
        files.update({bus / f"ap_{of}_domain_mask": "0x" + 64 * "f" for of in ("usage", "control")})
        files.update({bus / of: "0x" + 64 * "0" for of in ("apmask", "aqmask")})
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        if not (queue / "driver").is_symlink():
            (queue / "driver").symlink_to("../../drivers/vfio_ap")

    def copy_sysfs(self):
        """Has it see the sample host of tests/data/ap."""
        shutil.copytree(SOURCE / "tests/data/ap/hostA/sys", self.sysfs, symlinks=True)

    def end_strangers(self):
        """On the sample host, where queues are in use by guests: none is any more."""
        for status in (self.sysfs / "bus/ap/devices").glob("*.*/status"):
            if status.read_text() == "in use\n":
                status.write_text("assigned\n")

    def set_mkvps(self, queue, **registers):
        """What a card says of one of the host's own queues, as AES_CUR="valid 0x..."; the other lines stay."""
        path = self.sysfs / "bus/ap/devices" / queue / "mkvps"
        lines = dict(line.split(": ", 1) for line in path.read_text().splitlines())
        lines.update({name.replace("_", " "): value for name, value in registers.items()})
        new = path.with_name("mkvps.new")
        new.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        new.rename(path)  # at once: it is read at any time

    def run_as(self, user=OWN_USER):
        """From its next start on it has a user of its own and no capability, as its unit says."""
        for folder, mode in ((self.folder, 0o755), (self.state, 0o700), (self.runtime, 0o711)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
            shutil.chown(folder, user)
        self.wrapper = ["setpriv", f"--reuid={user}", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
                        "--bounding-set=-all"]

    def command(self):
        return [*self.wrapper, self.program, "--config", self.config, "--policy-dir", self.policy_dir, "--libvirt-uri",
                self.uri, "--sysfs-root", self.sysfs, "--act-socket", self.folder / "act", "--fence-socket", self.folder / "fence",
                *self.arguments]

    def spawn(self, **environment):
        """Starts it without waiting for anything."""
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        if self.notify:
            self.notify.close()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.notify.bind(str(path))
        path.chmod(0o666)
        self.notified = []
        with open(self.log, "ab") as log:
            self.process = self.bus.start(
                *self.command(), stdout=log, stderr=log,
                environment={"STATE_DIRECTORY": str(self.state), "RUNTIME_DIRECTORY": str(self.runtime),
                             "NOTIFY_SOCKET": str(path), **self.environment, **environment})
        return self

    def close(self):
        """Ends it, in order, if it runs: memory that is lost is told then."""
        if self.process and self.process.poll() is None:
            self.stop()
        if self.notify:
            self.notify.close()

    def read_notifications(self):
        """All that it has told systemd until now, one per message."""
        while True:
            try:
                self.notified.append(self.notify.recv(65536, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return self.notified

    def wait_for_notification(self, text, limit=LIMIT):
        def find():
            return next((n for n in self.read_notifications() if text in n), None) or self.process.poll() is not None
        found = until(find, f"the notification {text}", limit)
        assert isinstance(found, str), f"apmigd ended with {self.process.returncode}:\n{self.read_log()}"
        return found

    def start(self, **environment):
        self.spawn(**environment)
        self.wait_for_notification("READY=1")
        return self

    def wait(self):
        """Waits for its end; gives the exit status (negative: the signal)."""
        status = self.process.wait(LIMIT)
        self.read_notifications()
        return status

    def kill(self):
        self.process.kill()
        assert self.wait() == -signal.SIGKILL

    def stop(self):
        self.process.terminate()
        assert self.wait() == 0, self.read_log()

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        seen = len([n for n in self.read_notifications() if "READY=1" in n])
        self.process.send_signal(signal.SIGHUP)
        return until(lambda: [n for n in self.read_notifications() if "READY=1" in n][seen:], "the reload")[0]

    def read_log(self):
        return self.log.read_text()

    def wait_for_log(self, text):
        until(lambda: text in self.read_log(), f"\"{text}\" in the log")

    def lock_files(self):
        """Names in the folder of the locks but for the marker, so also those of a write that was cut off."""
        folder = self.state / "locks"
        return sorted(path.name for path in folder.iterdir() if path.name != ".in-use") if folder.exists() else []

    def admission_files(self):
        return sorted(path.name for path in (self.runtime / "admissions").iterdir())


class Act:
    """apmigd-act, started by hand for the user that runs the tests, where a daemon looks for it."""

    def __init__(self, bus, folder, uri):
        self.bus = bus
        self.socket, self.log, self.config = folder / "act", folder / "apmigd-act.log", folder / "act.conf"
        self.process = None
        self.config.write_text(f"[Libvirt]\nURI={uri}\n")

    def command(self, *arguments):
        return [APMIGD_ACT, "--config", self.config, "--peer", "root", *arguments]

    def start(self):
        with open(self.log, "ab") as log:
            self.process = self.bus.start(*self.command("--listen", self.socket), stdout=log, stderr=log)
        until(self.is_there, "apmigd-act")
        return self

    def is_there(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(LIMIT) == 0, self.log.read_text()


class Disk:
    """A small file system in the place of a daemon's folder. It is mounted where nobody else sees it, so nothing is left of it
    after the test, and it outlives the daemon."""

    def __init__(self, bus, folder):
        folder.mkdir(parents=True)
        self.bus = bus
        self.mount_point = folder
        self.keeper = bus.start("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k,mode=700 tmpfs "$0" && '
                                "echo ready && exec sleep infinity", folder)
        assert self.keeper.stdout.readline() == "ready\n"
        self.path = pathlib.Path(f"/proc/{self.keeper.pid}/root{folder}")  # for those outside

    def remount(self, how):
        """As "ro" or "rw"."""
        command = self.bus.start("nsenter", "-t", self.keeper.pid, "-m", "mount", "-o", f"remount,{how}", self.mount_point)
        errors = command.communicate(timeout=LIMIT)[1]
        if "reassociate to namespace" in errors and "Invalid argument" in errors:
            pytest.skip("nsenter cannot enter a mount namespace: it has several threads under user-mode emulation")
        assert errors == ""

    def fill(self):
        """Gives the file that takes all room there was."""
        filler = self.path / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                return filler


class Hypervisor:
    """The other end of apmigd-scripted's hypervisor: see scripted-hypervisor.h."""

    def __init__(self, path):
        self.path = path
        self.socket = None

    @property
    def init_file(self):
        return pathlib.Path(f"{self.path}.init")

    def initially(self, *commands):
        """What the next start of the daemon finds."""
        self.init_file.write_text("".join(json.dumps(command) + "\n" for command in commands))

    def disconnect(self):
        if self.socket:
            self.lines.close()
            self.socket.close()
        self.socket = None

    def do(self, do, **members):
        if not self.socket:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(LIMIT)
            self.socket.connect(str(self.path))
            self.lines = self.socket.makefile("r")
        command = {"do": do, **{key.replace("_", "-"): value for key, value in members.items()}}
        self.socket.sendall((json.dumps(command) + "\n").encode())
        reply = json.loads(self.lines.readline())
        assert reply.pop("ok"), reply
        return reply

    def guest(self, uuid, **members):
        self.do("guest", uuid=uuid, **members)

    def start_guest(self, uuid, **members):
        """With libvirt's event of it: one that a list shows a second before that was missed."""
        self.guest(uuid, **members)
        self.do("changed", uuid=uuid, change="started")

    def hint(self, **members):
        self.do("hint", **members)

    def calls(self, kind=None, uuid=None, clear=False):
        calls = self.do("calls", clear=clear)["calls"]
        return [c for c in calls if kind in (None, c["call"]) and uuid in (None, c.get("uuid"))]


def lasting(lock):
    """What of a lock's properties nobody changes but who is asked to: not what time and refused guests do."""
    return {name: value for name, value in lock.items() if name not in ("ProvenAt", "Attempts")}


def build_option(name):
    """Of meson's, in the build that is tested."""
    options = json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    return next(option["value"] for option in options if option["name"] == name)


def has_failpoints():
    """Whether the daemon can be told to kill itself at a named point."""
    return build_option("failpoints")


def many():
    """How many hosts many are: a sanitized apmigd takes the memory of several."""
    return 50 if build_option("b_sanitize") == "none" else 12


def uuid_of(number):
    return f"00000000-0000-4000-8000-{number:012x}"


def domain(name="g1", uuid=uuid_of(1), scope="04.0012", device=None):
    """A domain XML as libvirt hands it to the hook. scope None and device None: nothing to do with crypto."""
    metadata = (f"<metadata><apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='{scope}'/></metadata>"
                if scope is not None else "")
    hostdev = (f"<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='{device}'/></source>"
               "</hostdev>" if device else "")
    return (f"<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid>{metadata}<memory>1048576</memory>"
            f"<os><type>hvm</type></os><devices>{hostdev}</devices></domain>")
