# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigctl on a terminal, where polkit wants a password: polkit's agent is started, and ended. A fake of the agent tells when."""
import os
import pty
import subprocess

import pytest
import rig

AGENT = """#!/bin/sh
echo "started: $*" >>{log}
trap 'echo ended >>{log}; exit 0' TERM
eval "exec $2>&-"       # it is registered
while :; do sleep 0.05; done
"""


class Terminal:
    def __init__(self, folder):
        self.log, self.program = folder / "agent.log", folder / "bin" / "pkttyagent"
        self.program.parent.mkdir()
        self.program.write_text(AGENT.format(log=self.log))
        self.program.chmod(0o755)
        self.log.touch()
        self.log.chmod(0o666)

    def run(self, client, *arguments, terminal=True):
        """Its exit status, and what was told of the agent."""
        self.log.write_text("")
        screen, user = pty.openpty()
        process = client.run(rig.APMIGCTL, *arguments, stdin=user if terminal else subprocess.DEVNULL, stderr=user,
                             environment={"PATH": f"{self.program.parent}:{os.environ['PATH']}"})
        os.close(user)
        process.communicate(timeout=rig.LIMIT)
        os.close(screen)
        return process.returncode, self.log.read_text().splitlines()


@pytest.fixture
def terminal(folder):
    return Terminal(folder)


HERE = ["started: --notify-fd 3 --fallback", "ended"]


@pytest.mark.parametrize("arguments", [("lock", "04.*", "AES"), ("unlock", "aaaaaaaa"), ("extend", "aaaaaaaa", "1h"),
                                       ("permit", "g1", "--once", "--reason=it dies")], ids=lambda arguments: arguments[0])
def test_agent_is_there_for_who_changes(running, bus, terminal, nobody, arguments):
    bus.start_polkit("no")
    status, agent = terminal.run(nobody, *arguments)
    assert status != 0 and agent == HERE


def test_no_agent(running, bus, terminal, nobody, root):
    """For who only reads, who says so, root, and who sits at no terminal."""
    polkit = bus.start_polkit("challenge")
    assert terminal.run(nobody, "list") == (0, [])
    status, agent = terminal.run(nobody, "lock", "04.*", "AES", "--no-ask-password")
    assert status != 0 and agent == [] and not polkit.asked()[-1]["interactive"]
    status, agent = terminal.run(nobody, "lock", "04.*", "AES", terminal=False)
    assert status != 0 and agent == [] and polkit.asked()[-1]["interactive"]
    assert terminal.run(root, "lock", "04.*", "AES") == (0, [])


def test_agent_that_fails(running, bus, terminal, nobody):
    """As where the session has one already: polkit is asked nevertheless."""
    terminal.program.write_text("#!/bin/sh\nexit 1\n")
    bus.start_polkit("yes")
    assert terminal.run(nobody, "lock", "04.*", "AES") == (0, [])
