# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fifty hosts over a real ssh: each a bus of its own with apmigd-scripted on it, behind an ssh server on a port of loopback.

The server is dropbear, which asks the machine's list of users where root's keys are; it sees another list than the machine has.
"""

import concurrent.futures
import json
import re
import subprocess
import time

import pytest
import rig

HOSTS = rig.many()
SLOW = 7  # which of them
SLOW_SECONDS = 8
FIRST_PORT = 22000
GUEST = rig.uuid_of(1)
SSH = """\
#!/bin/sh
exec /usr/bin/ssh -F {folder}/ssh_config "$@"
"""
SSH_CONFIG = """\
Host *
    HostName 127.0.0.1
    User root
    IdentityFile {folder}/desk
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


def name_of(number):
    return f"lpar{number:02}"


class FarHost:
    def __init__(self, folder, number):
        self.folder = folder / name_of(number)
        self.folder.mkdir()
        self.bus = rig.Bus(self.folder)
        self.daemon = rig.Daemon(self.bus, self.folder, rig.APMIGD_SCRIPTED, f"scripted:{self.folder}/hypervisor")
        hooks = self.folder / "hooks" / "qemu.d"
        hooks.mkdir(parents=True)
        (hooks / "zz-apmigd").write_text("#!/bin/sh\n")
        (hooks / "zz-apmigd").chmod(0o755)
        self.hypervisor = rig.Hypervisor(self.folder / "hypervisor")

    def serve(self, users, key, port):
        far = f"systemd-stdio-bridge --bus-path={self.bus.address}"
        self.bus.start("unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/passwd && shift && exec "$@"', "sh", users,
                       "dropbear", "-F", "-E", "-s", "-r", key, "-p", f"127.0.0.1:{port}", "-c", far,
                       stdout=subprocess.DEVNULL, stderr=open(self.folder / "ssh.log", "wb"))

    def is_served(self):
        return "Not backgrounding" in (self.folder / "ssh.log").read_text()

    def close(self):
        self.hypervisor.disconnect()
        self.daemon.close()
        self.bus.close()


def make_keys(folder):
    """The desk's, the servers', and a list of users in which root's home has the desk's."""
    home = folder / "home"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "desk"], check=True)
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", folder / "server"], check=True, capture_output=True)
    authorized = home / ".ssh" / "authorized_keys"
    authorized.write_text((folder / "desk.pub").read_text())
    authorized.chmod(0o600)
    users = folder / "passwd"
    with open("/etc/passwd", encoding="utf-8") as passwd:
        users.write_text(re.sub(r"^(root:.*:)[^:]*(:[^:]*)$", rf"\g<1>{home}\g<2>", passwd.read(), flags=re.M))
    return users, folder / "server"


@pytest.fixture
def far_hosts(folder):
    users, key = make_keys(folder)
    (folder / "ssh_config").write_text("".join(
        f"Host {name_of(number)}\n    Port {FIRST_PORT + number}\n" for number in range(HOSTS)) + SSH_CONFIG.format(folder=folder))
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(SSH.format(folder=folder))
    (folder / "bin" / "ssh").chmod(0o755)
    hosts = []
    try:
        hosts += (FarHost(folder, number) for number in range(HOSTS))
        for number, host in enumerate(hosts):
            host.daemon.spawn()
            host.serve(users, key, FIRST_PORT + number)
        for host in hosts:
            host.daemon.wait_for_notification("READY=1")
            rig.until(host.is_served, "the ssh server")
        yield hosts
    finally:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(FarHost.close, hosts))


def test_as_fast_as_the_slowest(far_hosts, folder, record_property):
    """One of them has a migration to wait for; that is what the lock of all of them takes, and hardly more."""
    slow = far_hosts[SLOW].hypervisor
    slow.start_guest(GUEST, job="outgoing", scope="04.0012")
    (folder / "hosts").write_text("".join(f"{name_of(number)}\n" for number in range(HOSTS)))
    begin = time.monotonic()
    console = subprocess.Popen(
        [rig.APMIGCTL, "--hosts-file", folder / "hosts", "lock", "--json=short", "--change-id", "CHG0042", "--on-busy=wait",
         "04.0012", "AES rotation"],
        env={**rig.os.environ, **rig.ENVIRONMENT, "PATH": f"{folder}/bin:{rig.os.environ['PATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(SLOW_SECONDS * rig.SLOWER)
    slow.guest(GUEST, job="none")
    slow.hint(uuid=GUEST)
    free = time.monotonic()
    out, err = console.communicate(timeout=rig.LIMIT)
    end = time.monotonic()
    assert console.returncode == 0, out + err
    said = json.loads(out)
    assert said["Verdict"] == "GO" and [host["State"] for host in said["Hosts"]] == ["held"] * HOSTS
    record_property("lock until GO", f"{end - begin:.1f} s, {end - free:.1f} s after the slowest was free")
