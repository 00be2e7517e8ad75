# SPDX-License-Identifier: LGPL-2.1-or-later
"""D-Bus by hand, for what no library does: to send without end and not to read.

    wire.py flood ADDRESS NAME KIND CONNECTIONS     calls NAME over so many connections, without waiting for anything;
                                                    KIND: "small" calls, or "large" ones
    wire.py serve ADDRESS NAME                      owns NAME, and answers every call with an error

Both say "ready", and end when they are killed, or with the bus.
"""
import selectors
import socket
import struct
import sys
import time

MANAGER, PATH = "org.apmigd1.Manager", "/org/apmigd1"
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
LARGE = 27 << 20  # of a message; a bus takes 32 MiB
BATCH = 50  # calls that are sent at a time
CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def aligned(data, to):
    return data + b"\0" * (-len(data) % to)


def message(kind, serial, body=b"", signature="", **fields):
    """@fields: path, interface, member, error_name, reply_serial, destination, sender, unix_fds"""
    codes = {"path": (1, "o"), "interface": (2, "s"), "member": (3, "s"), "error_name": (4, "s"), "reply_serial": (5, "u"),
             "destination": (6, "s"), "sender": (7, "s"), "unix_fds": (9, "u")}
    array = b""
    for name, value in fields.items():
        code, kind_of = codes[name]
        array = aligned(array, 8) + struct.pack("<BB", code, 1) + kind_of.encode() + b"\0"
        array += struct.pack("<I", value) if kind_of == "u" else string(value)
    if signature:
        array = aligned(array, 8) + b"\x08\x01g\0" + struct.pack("<B", len(signature)) + signature.encode() + b"\0"
    header = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), serial, len(array)) + array
    return aligned(header, 8) + body


def call(serial, member, body=b"", signature="", destination=None, path=PATH, interface=MANAGER):
    where = {"destination": destination} if destination else {}
    return message(CALL, serial, body, signature, path=path, interface=interface, member=member, **where)


def take_lock(scope="04.0012"):
    return aligned(aligned(string(scope), 4) + string("flood"), 4) + aligned(struct.pack("<I", 0), 8)


def authenticate(address):
    """Returns: a connected socket. A bus lets in only so many of a user, and takes its time to see that others have gone."""
    while True:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(address.removeprefix("unix:path="))
        peer.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        answer = b""
        while answer.count(b"\r\n") < 2 and (data := peer.recv(1024)):
            answer += data
        if answer.count(b"\r\n") == 2:
            peer.sendall(b"BEGIN\r\n")
            return peer
        peer.close()
        time.sleep(0.05)


def read_messages(buffer):
    """Takes whole messages from a bytearray: yields (kind, serial, header)."""
    while len(buffer) >= 16:
        _, kind, _, _, length, serial, fields = struct.unpack_from("<cBBBIII", buffer)
        header = 16 + fields + (-fields % 8)
        if len(buffer) < header + length:
            return
        yield kind, serial, bytes(buffer[:header])
        del buffer[:header + length]


def sender_of(header):
    """Of a message that came over a bus, whose senders are all like ":1.42"."""
    at = header.index(b"\x07\x01s\0") + 4
    return header[at + 4:at + 4 + struct.unpack_from("<I", header, at)[0]].decode()


def hello(address):
    peer = authenticate(address)
    peer.sendall(call(1, "Hello", destination=BUS[0], path=BUS[1], interface=BUS[2]))
    return peer


class Flood:
    """A connection that calls and calls. Its replies are read and thrown away."""

    def __init__(self, address, name, messages):
        """@messages: (member, body, signature)"""
        self.socket = hello(address)
        self.socket.setblocking(False)
        self.serial = 2
        self.messages = messages
        self.name = name
        self.rest = memoryview(b"")

    def next(self):
        batch = bytearray()
        for member, body, signature in self.messages:
            batch += call(self.serial, member, body, signature, self.name)
            self.serial += 1
        return memoryview(bytes(batch))

    def go_on(self, events):
        if events & selectors.EVENT_READ and not self.socket.recv(1 << 20):
            raise ConnectionResetError
        if events & selectors.EVENT_WRITE:
            self.rest = self.rest or self.next()
            self.rest = self.rest[self.socket.send(self.rest[:1 << 20]):]


def flood(address, name, kind, count):
    selector = selectors.DefaultSelector()
    if kind == "small":
        messages = [("TakeLock", take_lock(), "ssa{sv}"), ("ListLocks", b"", "")] * (BATCH // 2)
    else:
        messages = [("CheckMigration", string(b"<" + b"x" * LARGE), "s")]

    def begin():
        one = Flood(address, name, messages)
        selector.register(one.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, one)

    for _ in range(count):
        begin()
    print("ready", flush=True)
    while True:
        for key, events in selector.select():
            try:
                key.data.go_on(events)
            except BlockingIOError:
                pass
            except OSError:  # a bus may have had enough of one
                selector.unregister(key.fileobj)
                key.fileobj.close()
                begin()


def serve(address, name):
    peer = hello(address)
    peer.sendall(call(2, "RequestName", aligned(string(name), 4) + struct.pack("<I", 0), "su", *BUS))
    print("ready", flush=True)
    buffer = bytearray()
    while data := peer.recv(1 << 20):
        buffer += data
        for kind, serial, header in read_messages(buffer):
            if kind == CALL:
                peer.sendall(message(ERROR, serial, error_name="org.apmigd1.Error.LimitExceeded", reply_serial=serial,
                                     destination=sender_of(header)))


if __name__ == "__main__":
    if sys.argv[1] == "flood":
        flood(*sys.argv[2:5], int(sys.argv[5]))
    serve(*sys.argv[2:])
