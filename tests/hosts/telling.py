# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the demonstrations have in common: they explain, type commands as an administrator would, and show what comes of it."""

import re
import shlex
import signal
import sys
import textwrap
import time
from pathlib import Path

from rig import Rig

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


def run(play, names):
    """Plays with hosts of these @names, and cleans up, also when it is interrupted."""
    def terminate(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        with Rig(names, install=Path(sys.argv[1])) as rig:
            play(rig)
    except KeyboardInterrupt:
        print("\ninterrupted; everything of the demonstration is gone")
        sys.exit(130)
    print(f"\n{BOLD}Done. Everything of the demonstration is gone again.{PLAIN}")
