# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens under a held lock while apmigd does not look: it stands still, it is gone, or the host starts anew. Whoever has
left meanwhile is counted, or named, and nothing is silently as it was."""

import signal
import time
import uuid

import pytest
from checks import KEYS, assert_held, departed, leaves_unhindered, take_held, told_guests, wait_state
from host import wait_for

STANDS_STILL = 3  # seconds at least
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@pytest.fixture
def unhindered(b):
    b.hide_hook()


@pytest.fixture
def boot_id(a):
    """Another one, and a runtime folder that is empty, as after a reboot."""
    path = a.path("/run/rig/boot-id")

    def renew():
        path.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        a.run("mount", "--bind", "/run/rig/boot-id", BOOT_ID)
        a.run("find", "/run/apmigd", "-mindepth", "1", "-delete")

    yield renew
    a.run("umount", BOOT_ID)


def counted(host, lock_id, guest):
    return host.lock_property(lock_id, "Breaches") == 1 and guest.name in told_guests(host, "LOCK_BREACHED")


def named(host, lock_id, guest):
    return departed(host, lock_id) == [guest.name] and guest.name in told_guests(host, "GUEST_DEPARTED")


def assert_not_silent(host, lock_id, guest):
    """Counted or named, and whoever asks whether the keys may be changed is told so."""
    wait_for(lambda: counted(host, lock_id, guest) or named(host, lock_id, guest), f"a word of {guest} on {host.name}")
    wait_state(host, lock_id, "held")


def test_apmigd_stands_still(rig, a, b, unhindered):
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    a.apmigd.send(signal.SIGSTOP)
    end = time.monotonic() + STANDS_STILL
    leaves_unhindered(rig, guest, a, b)
    time.sleep(max(0, end - time.monotonic()))
    a.apmigd.send(signal.SIGCONT)
    assert_not_silent(a, lock, guest)
    assert_held(a, lock, breaches=None)


@pytest.mark.parametrize("reboot", [False, True], ids=["apmigd", "host"])
def test_apmigd_is_gone(rig, a, b, unhindered, reboot, request):
    """The lock is there again, not proven at first, and never drained; the guest that left is named until somebody says
    that he knows."""
    guest, staying = rig.start_guest("g1", a, scope=KEYS), rig.start_guest("g2", a, scope=KEYS)
    lock = take_held(a)
    rig.deaths_expected = True
    a.stop_apmigd(signal.SIGKILL)
    leaves_unhindered(rig, guest, a, b)
    if reboot:
        request.getfixturevalue("boot_id")()
    a.start_apmigd()
    assert_not_silent(a, lock, guest)
    assert departed(a, lock) == [guest.name]
    ready = a.run("apmigctl", "ready", check=False)
    assert ready.stdout.startswith("NO-GO") and guest.name in ready.stdout
    assert "draining" not in a.apmigd_log()
    a.run("apmigctl", "annotate", lock, f"{guest} runs on {b.name}")
    assert departed(a, lock) == []
    assert a.run("apmigctl", "ready").stdout.startswith("GO")
    assert rig.where(staying) is a
