# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every method of the interface with arguments that nobody would give: no crash, every call is answered, no lock is left.

The arguments are made from the signatures in dbus/org.apmigd1.xml, from a fixed seed; a finding names the call.
"""
import os
import random
import xml.etree.ElementTree as ElementTree

import pytest
import rig
from rig import MANAGER, ROOT_PATH, SOURCE

CALLS = 150  # of each user, in a few seconds
PARALLEL = 15

TEXTS = ["", " ", "all", "04.0012", "04.*,05.0001", "ff-00.0-ffff", "x" * 300, "\n", "\x1b[2J", "\u202e", "%s%n%99999d", "../../x",
         "<domain/>", "<domain><name>g</name><uuid>x</uuid></domain>", "<!DOCTYPE d [<!ENTITY e 'x'>]><d>&e;</d>", "migrate", "restore",
         "0x" + "f" * 64, "04.0012 AES", "all EP11", "'\"\\`$(id)", "\U0001f511" * 80, "-1", "e" * 70000]
KEYS = ["on-busy", "timeout-usec", "expected-duration-usec", "no-wait", "allow-missing-hook", "change-id", "force", "fresh",
        "declare-mkvp", "declare-class", "class", "duration-usec", "", "x" * 300]
PATHS = ["/", ROOT_PATH, f"{ROOT_PATH}/lock", f"{ROOT_PATH}/lock/00000000", f"{ROOT_PATH}/lock/x", f"{ROOT_PATH}/migration/1",
         "/" + "a" * 300]


class Garbage:
    """busctl's words for values of any signature."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, signature):
        if signature == "a{sv}":
            n = self.random.choice((0, 1, 1, 2, 5))
            return [str(n), *(word for _ in range(n) for word in (self.random.choice(KEYS), *self.variant()))]
        if signature == "a{ss}":
            n = self.random.randrange(4)
            return [str(n), *(self.random.choice(TEXTS) for _ in range(2 * n))]
        if signature == "s":
            return [self.random.choice(TEXTS)]
        if signature == "o":
            return [self.random.choice(PATHS)]
        if signature == "b":
            return [self.random.choice(("true", "false"))]
        assert signature in ("t", "u", "x"), signature
        return [self.random.choice(("0", "1", "4294967295", "20000000"))]

    def variant(self):
        signature = self.random.choice(("s", "s", "t", "b", "o", "u", "a{ss}", "a{sv}"))
        return [signature, *self.value(signature)]


def methods():
    node = ElementTree.fromstring((SOURCE / "dbus" / "org.apmigd1.xml").read_text())
    return [(interface.get("name"), method.get("name"),
             [argument.get("type") for argument in method.iter("arg") if argument.get("direction", "in") == "in"])
            for interface in node.iter("interface") for method in interface.iter("method")]


def make_calls(seed, locks):
    garbage = Garbage(seed)
    for _ in range(CALLS):
        interface, member, signatures = garbage.random.choice(methods())
        path = ROOT_PATH if interface == MANAGER else garbage.random.choice([*PATHS, *locks])
        # One in ten has other arguments than the method takes.
        if garbage.random.randrange(10) == 0:
            signatures = [garbage.random.choice(("s", "t", "a{sv}", "o")) for _ in range(garbage.random.randrange(4))]
        yield path, interface, member, signatures, [word for s in signatures for word in garbage.value(s)]


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_garbage(running, bus, root, nobody, user):
    bus.start_polkit("yes")
    client = {"root": root, "nobody": nobody}[user]
    lock = root.take("01.0001", options={"change-id": "CHG1"})
    pid, waiting = running.process.pid, []
    answered = 0
    for path, interface, member, signatures, words in make_calls(int(os.environ.get("APMIGD_SEED", "1")), [lock]):
        waiting.append((client.start(path, interface, member, "".join(signatures), *words), member, words))
        while len(waiting) == PARALLEL or (waiting and not waiting[0][0].is_waiting()):
            call, *what = waiting.pop(0)
            out, err = call.process.communicate(timeout=2 * rig.LIMIT)
            assert running.process.poll() is None, what
            assert call.process.returncode == 0 or "Call failed: " in err or "Failed to " in err, (what, err)
            answered += "Failed to " not in err
    for call, *what in waiting:
        call.process.communicate(timeout=2 * rig.LIMIT)
        assert running.process.poll() is None, what
    assert answered > CALLS / 2
    for left in root.locks():
        root.release(left["path"], {"force": True})
    assert running.process.pid == pid and root.locks() == [] and running.lock_files() == []
    assert root.manager()["Locked"] is False
