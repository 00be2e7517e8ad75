# SPDX-License-Identifier: LGPL-2.1-or-later
"""A FAKE of a bus for tests: it has one service on it, which is what connects, and one caller, of whom it says what it is told.

What dbus-daemon says of a caller depends on its version; this one says it all, the descriptor of his process as well.
"""
import pathlib
import socket
import struct
import threading

import wire

BUS, CALLER, SERVICE = "org.freedesktop.DBus", ":1.7", ":1.1"


def credentials(uid, pid, with_fd):
    """An a{sv} as GetConnectionCredentials answers with; its descriptor is the message's first."""
    values = [("UnixUserID", "u", uid), ("ProcessID", "u", pid)] + [("ProcessFD", "h", 0)] * with_fd
    entries = b""
    for name, signature, value in values:
        entry = wire.string(name) + b"\x01" + signature.encode() + b"\0"
        entries = wire.aligned(entries, 8) + wire.aligned(entry, 4) + struct.pack("<I", value)
    return struct.pack("<II", len(entries), 0) + entries


class FakeBus:
    def __init__(self, path, pid, pidfd):
        """@pid and @pidfd: of the caller, who is root; pidfd None: as of a bus that does not know it"""
        self.pid, self.pidfd = pid, pidfd
        self.serial = 0
        self.called = threading.Event()
        pathlib.Path(path).unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.peer = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def next(self):
        self.serial += 1
        return self.serial

    def reply(self, serial, body=b"", signature="", fds=()):
        fields = {"unix_fds": len(fds)} if fds else {}
        data = wire.message(wire.REPLY, self.next(), body, signature, reply_serial=serial, sender=BUS, destination=SERVICE, **fields)
        socket.send_fds(self.peer, [data], list(fds)) if fds else self.peer.sendall(data)

    def answer(self, serial, header):
        if b"Hello\0" in header:
            self.reply(serial, wire.string(SERVICE), "s")
        elif b"RequestName\0" in header:
            self.reply(serial, struct.pack("<I", 1), "u")
        elif b"GetConnectionCredentials\0" in header:
            fds = () if self.pidfd is None else (self.pidfd,)
            self.reply(serial, credentials(0, self.pid, bool(fds)), "a{sv}", fds)
        else:
            self.reply(serial)

    def authenticate(self):
        """Returns: what came with its end. sd-bus says all that it has to say at once."""
        buffer = b""
        while b"BEGIN\r\n" not in buffer:
            buffer += self.peer.recv(4096)
        assert b"NEGOTIATE_UNIX_FD\r\n" in buffer
        self.peer.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n")
        return buffer.partition(b"BEGIN\r\n")[2]

    def serve(self):
        self.peer, _ = self.listener.accept()
        buffer = bytearray(self.authenticate())
        data = b"begin"
        while data:
            for kind, serial, header in wire.read_messages(buffer):
                if kind == wire.CALL:
                    self.answer(serial, header)
                elif kind in (wire.REPLY, wire.ERROR):
                    self.called.set()
            try:
                data = self.peer.recv(1 << 16)
            except OSError:
                return
            buffer += data

    def call(self, member, body, signature, limit):
        """As the caller, and waits for the answer."""
        self.called.clear()
        self.peer.sendall(wire.message(wire.CALL, self.next(), body, signature, path=wire.PATH, interface=wire.MANAGER,
                                       member=member, sender=CALLER, destination=SERVICE))
        assert self.called.wait(limit)

    def close(self):
        self.listener.close()
        if self.peer:
            self.peer.shutdown(socket.SHUT_RDWR)
            self.thread.join()
            self.peer.close()
