# SPDX-License-Identifier: LGPL-2.1-or-later
"""Root of one host of a rig may log in on others, as from a desk that looks after them.

The server is dropbear, whose package of programs alone starts nothing on the machine; the client is OpenSSH's. Root has a
home of its own here, so that nobody's keys are seen or changed.
"""

import re

from host import wait_for

HOME = "/run/rig/root"
CONFIG = """\
IdentityFile {home}/.ssh/id_ed25519
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
"""


def give_home(host):
    """ssh and dropbear look for it in the list of users, not in the environment."""
    users = host.path("/etc/passwd")
    users.write_text(re.sub(r"^(root:.*:)[^:]*(:[^:]*)$", rf"\g<1>{HOME}\g<2>", users.read_text(encoding="utf-8"), flags=re.M),
                     encoding="utf-8")
    folder = host.path(f"{HOME}/.ssh")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def make_desk(host):
    """Returns the line that lets it in elsewhere."""
    folder = give_home(host)
    (folder / "config").write_text(CONFIG.format(home=HOME), encoding="utf-8")
    if not (folder / "id_ed25519").exists():
        host.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{HOME}/.ssh/id_ed25519")
    return (folder / "id_ed25519.pub").read_text(encoding="ascii")


def serve(host, line):
    """Starts the server, which ends with the test. Returns its process."""
    keys = give_home(host) / "authorized_keys"
    keys.write_text(line, encoding="ascii")
    keys.chmod(0o600)
    host.path("/etc/dropbear").mkdir(exist_ok=True)
    server = host.spawn("dropbear", "-F", "-E", "-R", "-s")
    wait_for(lambda: "Not backgrounding" in server.output, f"the ssh server of {host.name}")
    return server


def connect(desk, hosts):
    """From @desk to each of @hosts, which may be among them. Returns their servers."""
    line = make_desk(desk)
    return [serve(host, line) for host in hosts]
