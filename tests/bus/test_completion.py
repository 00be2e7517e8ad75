# SPDX-License-Identifier: LGPL-2.1-or-later
"""Completion of apmigctl in bash, with apmigd to tell of locks and guests."""
import shutil

import pytest
import rig
from rig import APMIGCTL, SOURCE, domain, uuid_of

SCRIPT = """PATH=$1:$PATH; source "$2"; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _apmigctl
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "${COMPREPLY[@]}" """


@pytest.fixture
def complete(root):
    """What bash offers for the last of the words, as bash splits them."""
    if not shutil.which("bash"):
        pytest.skip("needs bash")

    def complete(*words):
        process = root.run("bash", "--norc", "-c", SCRIPT, "bash", APMIGCTL.parent, SOURCE / "dbus/ctl/apmigctl.bash",
                           "apmigctl", *words)
        out, err = process.communicate(timeout=rig.LIMIT)
        assert err == ""
        return out.splitlines()
    return complete


def test_verbs(running, complete):
    assert {"lock", "unlock", "status", "list", "doctor", "report", "hook", "--help"} <= set(complete(""))
    assert complete("unl") == ["unlock"]
    assert complete("nothing") == []


def test_options(running, complete):
    assert complete("lock", "--on") == ["--on-busy="]
    assert complete("unlock", "--fo") == ["--force"]
    assert "--json=" in complete("status", "--")
    assert complete("lock", "--on-busy", "=") == ["abort", "wait", "refuse"]
    assert complete("lock", "--on-busy", "=", "w") == ["wait"]
    assert complete("list", "--json", "=", "p") == ["pretty"]
    assert complete("declare", "--class", "=") == ["declared", "attested"]


def test_many_hosts(running, complete, folder):
    assert complete("--hosts-") == ["--hosts-file="]
    assert complete("--hosts", "=", "a,b", "unl") == ["unlock"]
    assert complete("--hosts", "a,b", "unl") == ["unlock"]
    assert complete("-q", "--hosts", "=", "a,b", "unlock", "--ex") == ["--except="]
    assert complete("unlock", "--ex") == []
    (folder / "lpars").touch()
    assert complete("--hosts-file", "=", f"{folder}/lp") == [f"{folder}/lpars"]


def test_locks(running, root, complete):
    assert complete("unlock", "") == []
    lock_id = root.take("04.*").rpartition("/")[2]
    assert complete("unlock", "") == [lock_id] == complete("list", lock_id[:3])
    assert complete("unlock", "x") == []


def test_guests(running, root, complete):
    root.admit(domain("g 1"), "g 1")
    root.admit(domain("h$(1)", uuid_of(2)), "h$(1)")
    assert complete("check", "") == ["g\\ 1", "h\\$\\(1\\)"]
    assert complete("check", "h") == ["h\\$\\(1\\)"]


def test_without_apmigd(bus, complete):
    assert complete("unlock", "") == []
