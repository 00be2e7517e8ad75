# SPDX-License-Identifier: LGPL-2.1-or-later
"""One host of the rig: namespaces of its own with a libvirtd, a system bus and an apmigd at their real paths."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

import wire

PYTHON = "/usr/bin/python3"
HERE = Path(__file__).resolve().parent
PATIENCE = float(os.environ.get("APMIGD_PATIENCE", "1"))  # how much longer than here everything may take
ACT_SOCKET = "/run/apmigd-act.sock"
FENCE_SOCKET = "/run/apmigd-fence.sock"
HOOK = "/etc/libvirt/hooks/qemu.d/zz-apmigd"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "HOME": "/root"}

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "polkit"
unix_sock_rw_perms = "0777"
log_level = 4
host_uuid = "{uuid}"
"""
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
migration_address = "{address}"
migration_host = "{address}"
"""
# Most tests are about what the source does by itself when the destination knows nothing of its lock.
POLICY = '{"stamp": "off"}\n'
LIBVIRTD_NOISE = ["virNetDevSendEthtoolIoctl", "virCgroupDetectControllers", "qemuDomainGetJobStatsInternal"]


class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_for(condition, what, timeout=20, interval=0.03):
    """Returns the first true value of @condition, or raises Timeout. @timeout in seconds, before PATIENCE."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"waited {timeout} s in vain: {what}")
        time.sleep(interval)


class Process:
    """A process on a host, a child of its first process. @status is None while it runs."""

    def __init__(self, host, pid, argv, output):
        self.host, self.pid, self.argv, self.output_path = host, pid, argv, output
        self.started, self.status = time.monotonic(), None
        self.ended = None

    def send(self, number):
        return self.status is None and self.host.kill(self.pid, number)

    def wait(self, timeout=30):
        """Returns its exit status, negative for a signal."""
        wait_for(lambda: self.status is not None, f"end of {' '.join(self.argv)} on {self.host.name}", timeout, 0.01)
        return self.status

    def end(self, number=signal.SIGTERM, timeout=30):
        self.send(number)
        return self.wait(timeout)

    @property
    def output(self):
        return self.host.path(self.output_path).read_text(encoding="utf-8", errors="replace")

    @property
    def duration(self):
        return (self.ended or time.monotonic()) - self.started


class Host:
    """@install: the folder `meson install --destdir` filled; "/" where apmigd is installed on the machine; or None."""

    def __init__(self, root, name, address, neighbours, install):
        self.name, self.address, self.install = name, address, install
        self.state = Path(root, name)
        self.state.mkdir()
        self.libvirtd = self.bus = self.polkit = self.apmigd = self.act = None
        self._processes, self._answers, self._orphans = {}, [], {}
        self._condition = threading.Condition()
        self.hidden = []
        self._serial, self._lock = 0, threading.Lock()
        self._start_init(neighbours)

    # --- the host itself -------------------------------------------------------------------------

    def _start_init(self, neighbours):
        names = "".join(f"{address} {name}\n" for name, address in neighbours.items())
        layout = {
            "name": self.name, "state": str(self.state), "install": self.install and str(self.install),
            "files": {
                "/etc/hosts": "127.0.0.1 localhost\n" + names,
                "/etc/hostname": self.name + "\n",
                "/etc/machine-id": uuid.uuid4().hex + "\n",
                "/etc/apmigd/policy.d/10-rig.json": POLICY,
                "/etc/libvirt/libvirtd.conf": LIBVIRTD_CONF.format(uuid=uuid.uuid4()),
                "/etc/libvirt/qemu.conf": QEMU_CONF.format(address=self.address),
            },
            "folders": ["/run/dbus", "/run/lock", "/run/rig", "/var/log/libvirt", "/var/lib/libvirt/serial"],
        }
        self._unshare = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--",
             PYTHON, str(HERE / "host_init.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=ENVIRONMENT, cwd="/")
        threading.Thread(target=self._listen, daemon=True).start()
        self.pid = self._ask(layout)["ready"]
        self._libvirt, self._bus = wire.Libvirt(self.pid), wire.Bus(self.path("/run/dbus/system_bus_socket"))
        self.run("ip", "link", "set", "lo", "up")
        if self.install:
            self.run("systemd-sysusers", "apmigd.conf")

    def _listen(self):
        for line in self._unshare.stdout:
            message = json.loads(line)
            with self._condition:
                if "exited" not in message:
                    self._answers.append(message)
                elif message["exited"] in self._processes:
                    self._note_exit(self._processes.pop(message["exited"]), message["status"])
                else:
                    self._orphans[message["exited"]] = message["status"]
                self._condition.notify_all()
        with self._condition:
            self._answers.append({"error": f"{self.name} is gone"})
            self._condition.notify_all()

    @staticmethod
    def _note_exit(process, status):
        process.ended = time.monotonic()
        process.status = status

    def _ask(self, request):
        with self._lock:
            self._unshare.stdin.write(json.dumps(request).encode() + b"\n")
            self._unshare.stdin.flush()
            with self._condition:
                if not self._condition.wait_for(lambda: self._answers, 30):
                    raise Timeout(f"{self.name} does not answer")
                answer = self._answers.pop(0)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self):
        """Ends everything on the host: the kernel does it, when its first process ends."""
        self._unshare.stdin.close()
        try:
            self._unshare.wait(10)
        except subprocess.TimeoutExpired:
            self._unshare.kill()
            self._unshare.wait(10)

    def path(self, path):
        """Where a file of the host is seen from outside. @path must contain no absolute symbolic link."""
        return Path(f"/proc/{self.pid}/root{path}")

    def enter(self, *argv):
        """The command line that runs @argv on this host, from outside."""
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--", *map(str, argv)]

    def run(self, *argv, check=True, timeout=60, stdin=None):
        """Runs a command to its end. Returns the CompletedProcess, with text."""
        timeout *= PATIENCE
        result = subprocess.run(self.enter("timeout", "-k", "2", str(timeout), *argv), input=stdin or "", text=True,
                                capture_output=True, env=ENVIRONMENT, timeout=timeout + 5, check=False)
        if check and result.returncode:
            raise AssertionError(f"{self.name}: {' '.join(map(str, argv))}: status {result.returncode}: "
                                 f"{result.stdout}{result.stderr}")
        return result

    def spawn(self, *argv, env=None, output=None):
        """Starts a command in the background."""
        with self._condition:
            self._serial += 1
        output = output or f"/run/rig/{self._serial}-{Path(argv[0]).name}"
        argv = list(map(str, argv))
        pid = self._ask({"spawn": argv, "env": {**ENVIRONMENT, **(env or {})}, "output": output})["pid"]
        process = Process(self, pid, argv, output)
        with self._condition:
            if pid in self._orphans:
                self._note_exit(process, self._orphans.pop(pid))
            else:
                self._processes[pid] = process
        return process

    def kill(self, pid, number=signal.SIGKILL):
        """Signals a process by its id on this host. Returns whether there was one."""
        return self._ask({"kill": pid, "signal": int(number)})["killed"]

    def end_background(self):
        """Kills what was spawned here and is none of the daemons."""
        with self._condition:
            strays = [process for process in self._processes.values()
                      if process not in (self.libvirtd, self.bus, self.polkit, self.apmigd, self.act)]
        for process in strays:
            process.end(signal.SIGKILL)

    def describe(self):
        """What it says, for the report of a failure."""
        parts = {
            "guests": self.virsh("list", "--all", check=False, timeout=5).stdout,
            "apmigctl": self.run("apmigctl", "status", check=False, timeout=5).stdout if self.install else "",
            "apmigd": self.apmigd_log()[-5000:],
            "apmigd-act": self.log_of("/var/log/apmigd-act.log")[-3000:],
            "apmigd-fence": self.log_of("/var/log/apmigd-fence.log")[-3000:],
            "libvirtd": "\n".join(self.libvirtd_log()[-12:]),
            "QEMU": "\n".join(path.read_text(encoding="utf-8", errors="replace")[-1500:]
                              for path in self.path("/var/log/libvirt/qemu").glob("*.log")),
        }
        return "\n".join(f"--- {name}\n{text.strip()}" for name, text in parts.items())

    def libvirtd_log(self):
        """Its lines, without those that only tell of the rig, or of a question about a guest that comes in."""
        text = self.path("/var/log/libvirtd.log").read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if not any(name in line for name in LIBVIRTD_NOISE)]

    # --- libvirt ---------------------------------------------------------------------------------

    def start_libvirtd(self, wait=True):
        self.libvirtd = self.spawn("libvirtd", "--listen", output="/var/log/libvirtd.log")
        if wait:
            self.wait_libvirtd()

    def wait_libvirtd(self, timeout=60):
        wait_for(lambda: self.virsh("uri", check=False, timeout=20).returncode == 0, f"libvirtd on {self.name}",
                 timeout, 0.1)

    def watch_events(self, name):
        """Follows what libvirt tells of its guests. @name: of an active one, whose title is set until the first event has come:
        virsh does not say when it has registered for them."""
        watcher = self.spawn("virsh", "-c", "qemu:///system", "event", "--all", "--loop")

        def told():
            self.virsh("desc", name, "--live", "--title", "watched")
            return "metadata-change" in watcher.output

        wait_for(told, "libvirt's events to be followed", interval=0.1)
        return watcher

    def virsh(self, *argv, **options):
        return self.run("virsh", "-q", "-c", "qemu:///system", *argv, **options)

    def guests(self):
        """Names of the active guests."""
        return self._libvirt.guests()

    def state_of(self, name):
        """As `virsh domstate --reason` has it; "" when there is no such guest."""
        return self._libvirt.state_of(name)

    def job(self, name):
        """What virDomainGetJobStats says; {} without a job."""
        return self._libvirt.job(name)

    def is_migrating_out(self, name):
        return self.job(name).get("operation") == wire.MIGRATION_OUT

    def memory_sent(self, name):
        """Bytes of memory that an outgoing migration has sent so far; None without one."""
        return self.job(name).get("memory_processed")

    def set_workers(self, least, most):
        """@least is what helps at once: libvirt does not add workers up to @most while more requests are queued than
        workers are free (virThreadPoolSendJob)."""
        self.run("virt-admin", "-c", "libvirtd:///system", "server-threadpool-set", "libvirtd",
                 "--min-workers", least, "--max-workers", most)

    def qemu_pid(self, name):
        """The pid on this host, from libvirt's pid file; 0 without one."""
        try:
            return int(self.path(f"/run/libvirt/qemu/{name}.pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0

    def stop_qemu(self, name):
        """Its monitor answers nothing any more, until kill(qemu_pid(), SIGCONT)."""
        assert self.kill(self.qemu_pid(name), signal.SIGSTOP)

    def serial_size(self, name):
        try:
            return self.path(f"/var/lib/libvirt/serial/{name}").stat().st_size
        except FileNotFoundError:
            return 0

    def end_guests(self):
        """Kills every QEMU and waits until libvirt has noticed. libvirtd must run."""
        pids = [self.qemu_pid(path.stem) for path in self.path("/run/libvirt/qemu").glob("*.pid")
                if not path.stem.startswith("driver")]
        for pid in filter(None, pids):
            self.kill(pid)
        wait_for(lambda: not self.guests(), f"no guest on {self.name}", 60)
        for name in self._libvirt.defined():
            self.virsh("undefine", name, "--managed-save", "--snapshots-metadata")
        for path in self.path("/var/lib/libvirt/serial").iterdir():
            path.unlink()

    def put_hook(self, script, name="50-rig", folder="qemu.d"):
        """Installs a hook script beside apmigd's, called before it. libvirtd must know of hooks already."""
        path = self.path(f"/etc/libvirt/hooks/{folder}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + script, encoding="utf-8")
        path.chmod(0o755)
        return path

    def metadata(self, name, uri):
        """The live element of that namespace; "" without one."""
        return self.virsh("metadata", name, uri, "--live", check=False).stdout.strip()

    # --- the bus and apmigd ----------------------------------------------------------------------

    def start_bus(self):
        """Debian's own system bus configuration: apmigd's policy file is read where it was installed. The same goes
        for polkit and apmigd's rule, by which libvirt lets it in."""
        socket = self.path("/run/dbus/system_bus_socket")
        socket.unlink(missing_ok=True)
        self.bus = self.spawn("dbus-daemon", "--system", "--nofork", "--nopidfile", output="/var/log/dbus.log")
        wait_for(socket.exists, f"bus on {self.name}")
        self.polkit = self.spawn("/usr/lib/polkit-1/polkitd", "--no-debug", output="/var/log/polkit.log")

    def start_apmigd(self, failpoint=None, wait=True, arguments=(), environment=None):
        """As its unit does: own user, folders, environment, no capability; with more of these, if need be."""
        for folder, mode in (("/var/lib/apmigd", "0700"), ("/run/apmigd", "0711")):
            self.run("install", "-d", "-m", mode, "-o", "apmigd", "-g", "apmigd", folder)
        env = {"STATE_DIRECTORY": "/var/lib/apmigd", "RUNTIME_DIRECTORY": "/run/apmigd", **(environment or {})}
        if failpoint:
            env["APMIGD_FAILPOINT"] = failpoint
        self.apmigd = self.spawn("setpriv", "--reuid", "apmigd", "--regid", "apmigd", "--clear-groups", "--no-new-privs",
                                 "--inh-caps=-all", "--bounding-set=-all", "/usr/sbin/apmigd", *arguments,
                                 env=env, output="/var/log/apmigd.log")
        if wait:
            self.wait_apmigd()

    def start_act(self):
        """The process that may change guests behind its socket, as its units do, but that it stays: own user, no
        capability."""
        path = self.path(ACT_SOCKET)
        path.unlink(missing_ok=True)
        self.act = self.spawn("systemd-socket-activate", "--seqpacket", f"--listen={ACT_SOCKET}", "setpriv",
                              "--reuid", "apmigd-act", "--regid", "apmigd-act", "--clear-groups", "--no-new-privs",
                              "--inh-caps=-all", "--bounding-set=-all", "/usr/libexec/apmigd-act", "--peer=apmigd",
                              "--idle=0", output="/var/log/apmigd-act.log")
        wait_for(path.exists, f"the socket of apmigd-act on {self.name}")
        path.chmod(0o600)
        self.run("chown", "apmigd:apmigd", ACT_SOCKET)

    def stop_act(self):
        if self.act and self.act.status is None:
            self.act.end(signal.SIGKILL)

    def act_log(self):
        return self.log_of("/var/log/apmigd-act.log")

    def start_fence(self, failpoint=""):
        """The helper behind its socket, as its units do: own user, three capabilities, one process a request."""
        path, capabilities = self.path(FENCE_SOCKET), "+sys_ptrace,+dac_read_search,+kill"
        path.unlink(missing_ok=True)
        self.run("install", "-d", "-m", "0700", "-o", "apmigd-fence", "-g", "apmigd-fence", "/run/apmigd-fence")
        self.fence = self.spawn("systemd-socket-activate", "--accept", "--inetd", "--seqpacket",
                                f"--listen={FENCE_SOCKET}", f"--setenv=APMIGD_FAILPOINT={failpoint}",
                                "--setenv=APMIGD_FAILPOINT_END=/run/apmigd-fence-go", "setpriv",
                                "--reuid", "apmigd-fence", "--regid", "apmigd-fence",
                                "--clear-groups", "--no-new-privs", f"--inh-caps={capabilities}",
                                f"--ambient-caps={capabilities}", f"--bounding-set=-all,{capabilities}",
                                "/usr/libexec/apmigd-fence", "--peer=apmigd", output="/var/log/apmigd-fence.log")
        wait_for(path.exists, f"the helper's socket on {self.name}")
        self.run("chown", "apmigd:apmigd", FENCE_SOCKET)

    def wait_apmigd(self, states=("connected", "complete")):
        """Until it sees the hypervisor: all that matters of it, when it has a lock. Without @states: until it is on
        the bus."""
        def ready():
            state = self.hypervisor_state()
            return self.apmigd.status is not None or (state in states if states else state)

        wait_for(ready, f"apmigd on {self.name} to see libvirt", 40)
        assert self.apmigd.status is None, f"apmigd on {self.name} ended: {self.apmigd.output[-2000:]}"

    def set_policy(self, text):
        """Over the rig's own; None: no more."""
        path = self.path("/etc/apmigd/policy.d/20-test.json")
        if text:
            path.write_text(text, encoding="utf-8")
        else:
            path.unlink(missing_ok=True)

    def stop_apmigd(self, number=signal.SIGTERM, timeout=15):
        if self.apmigd and self.apmigd.status is None:
            self.apmigd.end(number, timeout)

    def forget_apmigd(self):
        """Removes what it keeps; it must not be running."""
        self.set_policy(None)
        self.run("find", "/var/lib/apmigd", "/run/apmigd", "-mindepth", "1", "-delete")
        self.path("/var/log/apmigd.log").unlink()

    def hide(self, path, to=None):
        """Takes a file, folder or socket away, until restore_install()."""
        to = to or path + ".hidden"
        self.hidden.append((path, to))
        self.path(path).rename(self.path(to))

    def restore_install(self):
        while self.hidden:
            path, to = self.hidden.pop()
            self.path(to).rename(self.path(path))

    def log_of(self, path):
        path = self.path(path)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def apmigd_log(self):
        return self.log_of("/var/log/apmigd.log")

    def busctl(self, *argv, **options):
        return self.run("busctl", "--json=short", *argv, **options)

    def get_property(self, path, interface, name):
        return self._bus.get(path, f"org.apmigd1.{interface}", name)

    def hide_hook(self):
        """As on a host that nobody has told of apmigd: guests come in unasked, until restore_install(). libvirt runs whatever
        lies in the folder."""
        self.hide(HOOK, "/etc/libvirt/hooks/apmigd.hidden")

    def remove_hooks(self):
        """Removes those that put_hook() made."""
        for path in self.path("/etc/libvirt/hooks").glob("*/*-rig"):
            path.unlink()

    def hypervisor_state(self):
        """None when apmigd is not there."""
        try:
            return self._bus.get("/org/apmigd1", "org.apmigd1.Manager", "HypervisorState", timeout=10)
        except wire.BusError:
            return None

    def call_manager(self, method, *arguments, timeout=30):
        """Calls without waiting for more than an answer; returns the list of values."""
        result = self.busctl("call", "org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager", method, *arguments,
                             timeout=timeout)
        return json.loads(result.stdout)["data"] if result.stdout.strip() else []

    def _list(self, method):
        return self._bus.call("/org/apmigd1", "org.apmigd1.Manager", method)[0]

    def locks(self):
        """The living locks, oldest first, by the names of the members of ListLocks."""
        names = ("path", "id", "scope", "state", "reason", "owner", "since")
        return [dict(zip(names, lock)) for lock in self._list("ListLocks")]

    def migrations(self):
        names = ("path", "guest", "uuid", "direction", "phase", "scope")
        return [dict(zip(names, entry)) for entry in self._list("ListMigrations")]

    def lock_property(self, lock_id, name):
        return self.get_property(f"/org/apmigd1/lock/{lock_id}", "Lock", name)

    def take(self, scope="all", reason="AES rotation", timeout=120, **options):
        """Starts TakeLock in the background; see Take. Options by their name, with _ for -."""
        forms = {"on_busy": "'{}'", "change_id": "'{}'", "timeout_usec": "uint64 {}",
                 "expected_duration_usec": "uint64 {}"}
        text = ", ".join(f"'{name.replace('_', '-')}': <{forms.get(name, '{}').format(json.dumps(value).strip(chr(34)))}>"
                         for name, value in options.items())
        return Take(self.spawn("gdbus", "call", "--system", "--timeout", timeout,
                               "--dest", "org.apmigd1", "--object-path", "/org/apmigd1", "--method",
                               "org.apmigd1.Manager.TakeLock", scope, reason, "@a{sv} {" + text + "}"))

    def release(self, lock_id, force=False, check=True):
        options = ["a{sv}", "1", "force", "b", "true"] if force else ["a{sv}", "0"]
        return self.busctl("call", "org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager", "ReleaseLock", "o" + options[0],
                           f"/org/apmigd1/lock/{lock_id}", *options[1:], check=check, timeout=40)


class Take:
    """A TakeLock under way. After wait(): either @lock_id, or @error (the last part of its name) and @message."""

    def __init__(self, process):
        self.process, self.lock_id, self.error, self.message = process, None, None, None

    @property
    def answered(self):
        return self.process.status is not None

    def wait(self, timeout=60):
        self.process.wait(timeout)
        text = self.process.output.strip()
        if taken := re.search(r"objectpath '/org/apmigd1/lock/([0-9a-f]+)'", text):
            self.lock_id = taken[1]
        elif failed := re.search(r"GDBus\.Error:(?:[\w.]+\.)?(\w+): (.*)", text, re.DOTALL):
            self.error, self.message = failed[1], failed[2]
        else:
            self.error, self.message = "", text
        return self

    def vanish(self):
        """The caller's connection goes away."""
        self.process.end(signal.SIGTERM)
