# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example rule of docs/examples with the real polkitd: a crypto officer locks adapter 04, and nothing else."""

from pathlib import Path

import pytest
from host import wait_for

RULE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "50-apmigd-crypto-officers.rules"
OK, DENIED = 0, 4
# For -H: what ssh runs on the other host, as the user who calls.
SSH = """#!/bin/sh
exec systemd-stdio-bridge
"""


def types(host, *words, status=OK):
    """What nora, an ordinary user in the group crypto-officers, then reads."""
    result = host.run("setpriv", "--reuid", "nora", "--regid", "nora", "--init-groups", "--", "env",
                      "PATH=/run/rig/bin:/usr/bin:/bin:/usr/lib/systemd", "apmigctl", *words, check=False)
    assert result.returncode == status, (words, result.returncode, result.stdout + result.stderr)
    return result.stdout + result.stderr


@pytest.fixture
def nora(a):
    a.run("groupadd", "crypto-officers")
    a.run("useradd", "--no-create-home", "--groups", "crypto-officers", "nora")
    rule, ssh = a.path("/etc/polkit-1/rules.d") / RULE.name, a.path("/run/rig/bin/ssh")
    ssh.parent.mkdir(parents=True, exist_ok=True)
    ssh.write_text(SSH, encoding="ascii")
    ssh.chmod(0o755)
    rule.write_bytes(RULE.read_bytes())
    yield
    rule.unlink()
    ssh.unlink()
    a.run("userdel", "nora")
    a.run("groupdel", "crypto-officers")


@pytest.mark.parametrize("where", [(), ("-H", "zhost")], ids=["here", "over-ssh"])
def test_officer_locks_her_adapter_alone(a, nora, where):
    def has_read_the_rule():
        return a.run("setpriv", "--reuid", "nora", "--regid", "nora", "--init-groups", "--", "apmigctl", "lock", "04.*", "a try",
                     "--rehearse", check=False).returncode == OK

    wait_for(has_read_the_rule, "polkit to have read the rule")
    for scope in ("05.0012", "all", "*.0012", "04.0012,05.0012"):
        assert "not authorized" in types(a, *where, "lock", scope, "AES", "--no-ask-password", status=DENIED).lower()
    types(a, *where, "lock", "04.0012-0013", "AES", "--no-ask-password")
    (lock,) = a.locks()
    types(a, *where, "permit", "g9", "--once", "--reason", "it dies", "--no-ask-password")
    types(a, *where, "permit", "g9", "--revoke", "--no-ask-password")
    types(a, *where, "unlock", lock["id"], "--no-ask-password")
    a.run("apmigctl", "lock", "04.*", "of root")
    (lock,) = a.locks()
    types(a, *where, "unlock", lock["id"], "--no-ask-password", status=DENIED)
    a.run("apmigctl", "unlock", lock["id"])
    assert a.locks() == []
