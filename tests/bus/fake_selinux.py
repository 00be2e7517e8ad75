# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel that enforces SELinux, as far as one question goes; stands in for selinuxfs in a mount namespace of its own.

    fake_selinux.py ALLOWED FLAGS SCRIPT LABEL QUESTION COMMAND...

Runs COMMAND where /sys/fs/selinux answers each question with the two numbers, as hexadecimal, and where SCRIPT has LABEL.
The question that was put is left in the file QUESTION.
"""

import ctypes
import os
import pty
import subprocess
import sys
import threading
import tty
from pathlib import Path

MS_REC, MS_PRIVATE, CLONE_NEWNS = 0x4000, 1 << 18, 0x20000
FILES = {"enforce": "1", "class/file/index": "7", "class/file/perms/execute": "18"}

allowed, flags, script, label, question, *command = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


check(libc.unshare(CLONE_NEWNS))
check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
check(libc.mount(b"none", b"/sys/fs", b"tmpfs", 0, None))
for name, text in FILES.items():
    path = Path("/sys/fs/selinux", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
content, mode = Path(script).read_bytes(), os.stat(script).st_mode
check(libc.mount(b"none", str(Path(script).parent).encode(), b"tmpfs", 0, b"mode=755"))  # which has labels
Path(script).write_bytes(content)
os.chmod(script, mode)
os.setxattr(script, "security.selinux", label.encode())

kernel, user = pty.openpty()
tty.setraw(user)
os.symlink(os.ttyname(user), "/sys/fs/selinux/access")


def answer():
    while True:
        Path(question).write_bytes(os.read(kernel, 4096))
        os.write(kernel, f"{allowed} ffffffff 0 ffffffff 1 {flags}".encode())


threading.Thread(target=answer, daemon=True).start()
sys.exit(subprocess.run(command, check=False).returncode)
