# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job of apmigd, shown and explained. See tests/demo.sh."""

import re
import shlex
import signal
import sys
import textwrap
import time
from pathlib import Path

from rig import Rig

KEYS = "04.0012"
REASON = "AES master key rotation"
BUS = ["busctl", "call", "org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager"]
BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def explain(text):
    print("\n" + textwrap.fill(" ".join(text.split()), 100), flush=True)


def show(host, argv, output, background=False):
    print(f"{BOLD}root@{host.name}:~# {shlex.join(argv)}{' &' if background else ''}{PLAIN}")
    for line in output.strip().splitlines():
        print(textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="      ",
                            break_long_words=False), flush=True)


def type_on(host, *argv, fails=False, only=""):
    """Runs a command as an administrator would, and shows it; of its output the lines that match @only."""
    begin = time.monotonic()
    result = host.run(*argv, check=False)
    seconds = time.monotonic() - begin
    lines = [line for line in (result.stdout + result.stderr).splitlines() if re.match(only, line)]
    show(host, argv, "\n".join(lines).rstrip() + f"\n[{seconds:.1f} s]")
    assert (result.returncode != 0) == fails, f"that command should have {'failed' if fails else 'succeeded'}"
    return result.stdout


def command(guest, destination, *extra):
    return ["virsh", "migrate", "--live", "--p2p", *extra, guest.name, f"qemu+tcp://{destination.name}/system"]


def tell_where(rig, guest, expected):
    assert rig.where(guest) is expected
    print(f"    {guest} runs on {expected.name}: the log of its serial port grows there, and only there", flush=True)


def begin(rig, a, b):
    explain("Two hosts, each with a libvirtd, a system bus and an apmigd of its own, at the paths where packages put "
            f"them. On host-a runs g1, a guest whose keys lie on adapter 04, domain 0012 ({KEYS}).")
    guest = rig.start_guest("g1", a, scope=KEYS)
    tell_where(rig, guest, a)
    explain("The virtualization administrator moves it to host-b. The bandwidth is limited, so that there is "
            "something to see.")
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    show(a, command(guest, b, "--bandwidth", "1"), "", background=True)
    type_on(a, "virsh", "domjobinfo", guest.name, only="Operation|Time elapsed|Memory")
    explain("host-b let it in a moment ago, and knows of it:")
    type_on(b, "apmigctl", "migrations")
    return guest, migration


def take(rig, a, guest, migration):
    explain("Now the crypto administrator wants to change the AES master key, which must not happen while a guest is "
            "on its way. So she asks for the lock. The answer comes when it is certain that no migration is in "
            "progress on this host; the one under way is ended.")
    path = re.search('"(.*)"', type_on(a, *BUS, "TakeLock", "ssa{sv}", "all", REASON, "0"))[1]
    assert not migration.wait()
    explain("The lock is held. The migration has failed, and its initiator is told so; the guest has noticed nothing.")
    show(a, command(guest, rig.hosts[1], "--bandwidth", "1"), migration.message)
    tell_where(rig, guest, a)
    type_on(a, "apmigctl", "status")
    return path


def try_to_migrate(rig, a, b, guest, path):
    explain("Now she may change keys. Meanwhile no affected guest comes in: the hook of libvirt on host-a asks apmigd, "
            "and whoever tries on host-b reads whose lock it is, and why.")
    other = rig.start_guest("g2", b, scope=KEYS)
    type_on(b, *command(other, a), fails=True)
    tell_where(rig, other, b)
    explain("libvirt asks nobody before a guest leaves. Such a migration is ended as soon as it is seen, and counted "
            "as a breach of the lock.")
    type_on(a, *command(guest, b, "--bandwidth", "1"), fails=True)
    tell_where(rig, guest, a)
    type_on(a, "apmigctl", "list", path.rpartition("/")[2])
    explain("A guest without crypto hardware is none of apmigd's business: it comes in under the lock.")
    plain = rig.start_guest("g3", b)
    type_on(b, *command(plain, a))
    tell_where(rig, plain, a)
    return other


def release(rig, a, b, guest, other, path):
    explain("The keys are in step on both hosts. The lock is released, and everything goes its way again.")
    type_on(a, *BUS, "ReleaseLock", "oa{sv}", path, "0")
    type_on(a, "apmigctl", "status")
    type_on(b, *command(other, a))
    tell_where(rig, other, a)
    type_on(a, *command(guest, b))
    tell_where(rig, guest, b)


def main():
    def terminate(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        with Rig(install=Path(sys.argv[1])) as rig:
            a, b = rig.hosts
            guest, migration = begin(rig, a, b)
            path = take(rig, a, guest, migration)
            other = try_to_migrate(rig, a, b, guest, path)
            release(rig, a, b, guest, other, path)
    except KeyboardInterrupt:
        print("\ninterrupted; everything of the demonstration is gone")
        sys.exit(130)
    print(f"\n{BOLD}Done. Everything of the demonstration is gone again.{PLAIN}")


main()
