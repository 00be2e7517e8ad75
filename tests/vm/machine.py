# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine under QEMU/TCG, and a channel to run commands in it.

    with Machine(image, source=CHECKOUT, build=FOLDER, console=FILE) as machine:
        status = machine.run("uname", "-a", timeout=20)

The image stays as it is: what the machine writes is gone with it. In the machine @source is /source, read only, and
@build is /build. The machine ends with this process, however that ends.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CPU = "Nehalem"  # without the wide vectors of newer ones, which cost twice the time to emulate
PREFIX = "apmigd-vm-"
BOOT_TIMEOUT = 240  # seconds; 45 on an idle machine with two processors


class MachineError(Exception):
    """It did not do what it was asked in time, or is gone."""


def reap_leftovers():
    """Removes the folders of machines whose process was killed; the machine itself ended with it."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        pid, dash, _ = folder.name.removeprefix(PREFIX).partition("-")
        if dash and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


class Machine:
    def __init__(self, image, source, build, console, memory=3072, processors=2):
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.console = Path(console)
        self._pending, self._boot_id = b"", None
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(self.folder / "agent"))
                listener.listen()
                listener.settimeout(30)
                self._qemu = subprocess.Popen(self._command(image, source, build, memory, processors),
                                              stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(self.folder)})
                self._port, _ = listener.accept()
            self.wait_boot()
        except BaseException:
            self.close()
            raise

    def _command(self, image, source, build, memory, processors):
        def share(tag, path, options=""):
            return ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{options}"]

        return ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-name", "apmigd-vm", "-no-user-config",
                "-nodefaults", "-accel", "tcg,thread=multi,tb-size=1024", "-machine", "q35", "-cpu", CPU,
                "-smp", str(processors), "-m", str(memory), "-display", "none", "-nic", "none",
                "-kernel", str(image.kernel), "-initrd", str(image.initrd),
                "-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off "
                "systemd.show_status=0 panic=5 oops=panic",
                "-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on,discard=unmap",
                "-serial", f"file:{self.console}", "-device", "virtio-rng-pci", "-device", "virtio-serial",
                "-chardev", f"socket,id=agent,path={self.folder}/agent",
                "-device", "virtserialport,chardev=agent,name=agent",
                *share("source", source, ",readonly=on"), *share("build", build)]

    def _read(self, end):
        """One message, or an error when it is not here at @end."""
        while b"\n" not in self._pending:
            self._port.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self._port.recv(65536)
            except TimeoutError:
                raise MachineError("the machine does not answer in time") from None
            if not data:
                raise MachineError("the machine is gone")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return json.loads(line)

    def wait_boot(self, timeout=BOOT_TIMEOUT):
        """Until it has booted, for the first time or once more."""
        end, boot_id = time.monotonic() + timeout, None
        while boot_id in (None, self._boot_id):
            boot_id = self._read(end).get("ready")
        self._boot_id = boot_id

    def run(self, *argv, timeout, out=sys.stdout):
        """Runs @argv to its end and returns its status; what it prints goes to @out. What lasts longer than @timeout
        seconds is killed, with status 124 or 137."""
        end = time.monotonic() + timeout + 30
        command = ["timeout", "--kill-after=10", str(timeout), *map(str, argv)]
        self._port.settimeout(10)
        self._port.sendall(json.dumps({"run": command}).encode() + b"\n")
        while True:
            message = self._read(end)
            if "ready" in message:
                raise MachineError("the machine has booted again, unasked")
            if "status" in message:
                return message["status"]
            out.write(message["output"])
            out.flush()

    def reboot(self, timeout=BOOT_TIMEOUT):
        self._port.sendall(json.dumps({"run": ["systemctl", "reboot"]}).encode() + b"\n")
        self.wait_boot(timeout)

    def kill(self):
        self._qemu.kill()

    def close(self):
        if qemu := getattr(self, "_qemu", None):
            qemu.kill()
            qemu.wait()
        if port := getattr(self, "_port", None):
            port.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
