# SPDX-License-Identifier: LGPL-2.1-or-later
"""What somebody would try who has broken into apmigd: run in its place, as its user, in its unit's sandbox and cgroup.

    intruder.py FOLDER

FOLDER/targets has the guests and the pids of apmigd-act and a QEMU, as JSON; what came of each attempt goes to RUNTIME_DIRECTORY/loot.
An attempt that is refused raises an error.
"""

import ctypes
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

import libvirt

TARGETS = json.loads(pathlib.Path(sys.argv[1], "targets").read_text(encoding="ascii"))
LIBRARY = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
VERBS = ("ready", "abort", "write-stamp", "remove-stamp")  # daemon/act/protocol.h
RESULTS = ("done", "nothing-to-do", "busy", "too-late", "refused", "failed")
STAMP = '<stamp form="digest" host="22222222-2222-4222-8222-222222222222" written-at="1" digest=""/>'
DOMAIN = "<domain type='qemu'><name>evil</name><memory>1024</memory><os><type>hvm</type></os></domain>"
POOL = "<pool type='dir'><name>evil</name><target><path>/etc</path></target></pool>"
VOLUME = "<volume><name>evil</name><capacity>1</capacity></volume>"
SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def act(verb, guest, stamp=""):
    """apmigd-act, as apmigd asks it."""
    now = time.monotonic_ns() // 1000
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.settimeout(60)
        peer.connect("/run/apmigd-act.sock")
        peer.send(struct.pack("=IIIIQqq40s", 0x61706d61, 1, VERBS.index(verb), len(stamp), 7, now, now + 10_000_000,
                              TARGETS[guest].encode()) + stamp.encode())
        result, _, _, message = struct.unpack("=8xIIQ1024s", peer.recv(4096))
    if RESULTS[result] == "refused":
        raise PermissionError(message.rstrip(b"\0").decode())
    return RESULTS[result]


CONNECTIONS = []


def fence():
    """The pid of an apmigd-fence that waits for this request of ours."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.connect("/run/apmigd-fence.sock")
    CONNECTIONS.append(peer)
    for _ in range(3000):
        for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
            try:
                if comm.read_text(encoding="ascii") == "apmigd-fence\n":
                    return int(comm.parent.name)
            except (OSError, ValueError):
                pass
        time.sleep(0.01)
    raise AssertionError("there is no apmigd-fence")


def system_call(name, *arguments):
    if getattr(LIBRARY, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path):
    pathlib.Path(path).write_text("evil\n", encoding="ascii")


def call(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise PermissionError(done.stderr)


def looking():
    return libvirt.openReadOnly("qemu:///system")


def attempts():
    """(name, what is tried)"""
    yield "manage libvirt", lambda: libvirt.open("qemu:///system").listAllDomains()
    yield "manage libvirt by its socket", lambda: libvirt.open(
        "qemu+unix:///system?socket=/run/libvirt/libvirt-sock").listAllDomains()
    yield "administer libvirt", lambda: call("virt-admin", "-c", "libvirtd:///system", "server-list")
    yield "define a domain", lambda: looking().defineXML(DOMAIN)
    yield "create a domain", lambda: looking().createXML(DOMAIN)
    yield "create a pool", lambda: looking().storagePoolCreateXML(POOL)
    yield "create a volume", lambda: looking().storagePoolLookupByName("images").createXML(VOLUME)
    yield "abort a job by itself", lambda: looking().lookupByUUIDString(TARGETS["affected"]).abortJob()
    yield "destroy a guest", lambda: looking().lookupByUUIDString(TARGETS["affected"]).destroy()
    yield "write metadata by itself", lambda: looking().lookupByUUIDString(TARGETS["affected"]).setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<keys/>", "evil", "urn:evil:1")
    yield "abort an unaffected guest's job", lambda: act("abort", "unaffected")
    yield "write an unaffected guest's metadata", lambda: act("write-stamp", "unaffected", STAMP)
    yield "write other metadata than a stamp", lambda: act("write-stamp", "affected", "<keys scope='04.0012'/>")
    yield "write into /etc", lambda: write("/etc/evil")
    yield "write a hook", lambda: write("/etc/libvirt/hooks/qemu.d/evil")
    yield "write apmigd's configuration", lambda: write("/etc/apmigd/evil.conf")
    yield "write into /sys", lambda: write("/sys/kernel/mm/transparent_hugepage/enabled")
    for name, find in (("apmigd-act", lambda: TARGETS["act"]), ("apmigd-fence", fence)):
        yield f"stop {name}", lambda find=find: os.kill(find(), signal.SIGSTOP)
        yield f"kill {name}", lambda find=find: os.kill(find(), signal.SIGKILL)
        yield f"trace {name}", lambda find=find: system_call("ptrace", PTRACE_SEIZE, find(), None, None)
        yield f"attach to {name}", lambda find=find: system_call("ptrace", PTRACE_ATTACH, find(), None, None)
        yield f"read {name}'s memory", lambda find=find: pathlib.Path(f"/proc/{find()}/mem").open("rb").read(1)
    yield "stop a QEMU", lambda: os.kill(TARGETS["qemu"], signal.SIGSTOP)
    yield "start a unit", lambda: call("busctl", "call", *SYSTEMD, "StartUnit", "ss", "evil.service", "replace")
    yield "stop a unit", lambda: call("busctl", "call", *SYSTEMD, "StopUnit", "ss", "apmigd-act.socket", "replace")
    yield "start a program", lambda: call("busctl", "call", *SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))", "evil.service",
                                          "replace", "1", "ExecStart", "a(sasb)", "1", "/bin/sh", "1", "/bin/sh", "false", "0")
    yield "become root", lambda: os.setuid(0)
    yield "have a user namespace", lambda: system_call("unshare", 0x10000000)
    yield "talk to the network", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def try_all():
    loot = {}
    for name, attempt in attempts():
        try:
            loot[name] = ["done", repr(attempt())]
        except (OSError, libvirt.libvirtError, subprocess.TimeoutExpired) as error:
            loot[name] = ["timeout" if isinstance(error, subprocess.TimeoutExpired) else "refused", str(error)]
    return loot


LOOT = pathlib.Path(os.environ["RUNTIME_DIRECTORY"], "loot")
LOOT.with_suffix(".new").write_text(json.dumps({"user": os.getuid(), "cgroup": pathlib.Path("/proc/self/cgroup").read_text(
    encoding="ascii"), "attempts": try_all()}), encoding="utf-8")
LOOT.with_suffix(".new").rename(LOOT)
