# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd of its own, behind a real socket, with the guests of libvirt's test driver: no jobs, no hooks, but calls that
have to be answered by another process."""
import pathlib
import shutil
import signal
import subprocess

import rig

CONFIG = """\
listen_tls = 0
unix_sock_dir = "{folder}"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "11111111-1111-4111-8111-111111111112"
"""
# Nothing of this machine's libvirt is seen or touched, nor its network.
SETUP = """\
mount --make-rprivate / && for folder in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log; do
    mkdir -p "$folder" && mount -t tmpfs -o mode=0755 private "$folder" || exit
done
mkdir -p /run/lock
exec "$0" --config "$1"
"""
GUEST = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"""

program = shutil.which("libvirtd", path="/usr/sbin:/sbin:/usr/local/sbin")


class Libvirtd:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder, "libvirtd")
        self.folder.mkdir()
        self.process = None
        self.socket = self.folder / "libvirt-sock"
        self.uri = f"test+unix:///default?socket={self.socket}"
        (self.folder / "conf").write_text(CONFIG.format(folder=self.folder))

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", SETUP, program,
                 self.folder / "conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        rig.until(lambda: self.virsh("uri").returncode == 0, "libvirtd")
        return self

    def virsh(self, *arguments):
        return subprocess.run(["virsh", "-q", "-c", self.uri, *arguments], capture_output=True, text=True, check=False,
                              timeout=rig.LIMIT)

    def add_guests(self, count):
        """Besides the one that there is."""
        for number in range(1, count + 1):
            path = self.folder / f"g{number}.xml"
            path.write_text(GUEST.format(name=f"g{number}", uuid=rig.uuid_of(number)))
            assert self.virsh("create", path).returncode == 0

    @property
    def pid(self):
        """As seen here, of libvirtd itself."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def n_clients(self):
        """How many connections it has."""
        lines = pathlib.Path("/proc/net/unix").read_text().splitlines()
        return sum(1 for line in lines if line.endswith(str(self.socket)) and line.split()[5] == "03")

    def end(self, number=signal.SIGKILL):
        if self.process:
            self.process.send_signal(number)
            self.process.wait(rig.LIMIT)
            self.process = None
