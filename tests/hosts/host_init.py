# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first process of a host of the rig.

Run as PID 1 of fresh PID, mount, network, UTS and IPC namespaces. It lays out the host's file system, then starts
what it is told, reaps whatever dies, and ends with its standard input: when the test run dies in whatever way, the
kernel ends every process of the host, and with them go its mounts and links.

Spoken are lines of JSON. The first one read is the layout; it is answered with {"ready": PID AS SEEN OUTSIDE}. Then
    {"spawn": [ARGV...], "env": {...}, "output": PATH, "cwd": PATH}  ->  {"pid": N} or {"error": TEXT}
    {"kill": PID, "signal": N}                                       ->  {"killed": true | false}
and, at any time, {"exited": PID, "status": N} (negative: the signal).
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

# Empty at first, whatever the machine has there.
FRESH = ["/run", "/var/log", "/var/lib/apmigd", "/var/lib/libvirt", "/var/cache/libvirt"]
# Of these it has what is installed on it, and nothing that the machine's administrators have put there: policy, hooks,
# guests, and whom polkit lets do what.
OWN = {"/etc": ["apmigd", "libvirt", "polkit-1/rules.d"]}
OPAQUE = ("trusted.overlay.opaque", b"y")  # nothing of the layers below is seen in that folder


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, stdin=subprocess.DEVNULL)


def make_own(folder, installed):
    """Makes a @folder of an upper layer that has a copy of what is @installed, and hides all below."""
    folder.mkdir(parents=True)
    os.setxattr(folder, *OPAQUE)
    if installed.is_dir():
        shutil.copytree(installed, folder, symlinks=True, dirs_exist_ok=True)


def overlay(folder, state, install):
    """Puts a writable copy of @folder over it, with what is installed in @install/@folder on top."""
    name = folder.strip("/")
    upper, work = Path(state, name, "upper"), Path(state, name, "work")
    upper.mkdir(parents=True)
    work.mkdir()
    layers, installed = [folder], Path(install or "/nothing", name)
    if installed.is_dir() and installed != Path(folder):
        layers.insert(0, str(installed))
    for own in OWN.get(folder, ()):
        make_own(upper / own, installed / own)
    mount("-t", "overlay", "-o", f"lowerdir={':'.join(layers)},upperdir={upper},workdir={work}", "overlay", folder)


def lay_out(layout):
    socket.sethostname(layout["name"])
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "tmpfs", "-o", "mode=0755", "state", layout["state"])
    for folder in ("/usr", "/etc", "/var"):
        overlay(folder, layout["state"], layout["install"])
    for folder in FRESH:
        Path(folder).mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "-o", "mode=0755", "fresh", folder)
    for path, text in layout["files"].items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    for folder in layout["folders"]:
        Path(folder).mkdir(parents=True, exist_ok=True)


def say(message):
    os.write(1, json.dumps(message).encode() + b"\n")


def spawn(request):
    """Starts a process in a session of its own, its output appended to a file."""
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    try:
        pid = os.posix_spawnp(request["spawn"][0], request["spawn"], request["env"], file_actions=actions, setsid=True,
                              setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT])
        return {"pid": pid}
    except OSError as error:
        return {"error": f"{request['spawn'][0]}: {error.strerror}"}
    finally:
        os.close(output)
        os.close(nothing)


def send_signal(request):
    try:
        os.kill(request["kill"], request["signal"])
        return {"killed": True}
    except ProcessLookupError:
        return {"killed": False}


def reap():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say({"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def serve(outer_pid):
    wake, wakened = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
    say({"ready": outer_pid})
    pending = b""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
            reap()
        if 0 not in readable:
            continue
        data = os.read(0, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            say(spawn(request) if "spawn" in request else send_signal(request))


def main():
    outer_pid = int(os.readlink("/proc/self"))
    layout = b""
    while not layout.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        layout += byte
    try:
        lay_out(json.loads(layout))
    except (OSError, subprocess.CalledProcessError) as error:
        say({"error": str(error)})
        sys.exit(1)
    serve(outer_pid)


main()
