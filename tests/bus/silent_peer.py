# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owns org.apmigd1 on the bus of DBUS_SYSTEM_BUS_ADDRESS, through libsystemd alone.

    silent_peer.py silent            never answers
    silent_peer.py allow|deny FILE   answers every call as AdmitMigration; the domain XML it got goes to FILE

Prints "ready" once it has the name.
"""
import ctypes
import sys
import time

SD = ctypes.CDLL("libsystemd.so.0")
SD.sd_bus_request_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64]
SD.sd_bus_process.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
SD.sd_bus_wait.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
SD.sd_bus_send.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
SD.sd_bus_message_is_method_call.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
SD.sd_bus_message_read_basic.argtypes = [ctypes.c_void_p, ctypes.c_char, ctypes.c_void_p]
SD.sd_bus_message_append_basic.argtypes = [ctypes.c_void_p, ctypes.c_char, ctypes.c_void_p]
SD.sd_bus_message_new_method_return.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
SD.sd_bus_message_open_container.argtypes = [ctypes.c_void_p, ctypes.c_char, ctypes.c_char_p]
SD.sd_bus_message_close_container.argtypes = [ctypes.c_void_p]


def check(r):
    if r < 0:
        sys.exit(f"sd-bus: error {-r}")
    return r


def answer(bus, call, allow, record):
    text = ctypes.c_char_p()
    for _ in range(5):  # guest, operation, suboperation, extra, domain XML
        check(SD.sd_bus_message_read_basic(call, b"s", ctypes.byref(text)))
    with open(record, "wb") as file:
        file.write(text.value)

    reply = ctypes.c_void_p()
    check(SD.sd_bus_message_new_method_return(call, ctypes.byref(reply)))
    allowed = ctypes.c_int(allow)
    check(SD.sd_bus_message_append_basic(reply, b"b", ctypes.byref(allowed)))
    reason = b"" if allow else b"locked by root: \x1b[31mAES rotation\n(lock 1a2b3c4d)"
    check(SD.sd_bus_message_append_basic(reply, b"s", reason))
    check(SD.sd_bus_message_open_container(reply, b"a", b"{ss}"))
    check(SD.sd_bus_message_close_container(reply))
    check(SD.sd_bus_send(bus, reply, None))


def main():
    bus = ctypes.c_void_p()
    check(SD.sd_bus_open_system(ctypes.byref(bus)))
    check(SD.sd_bus_request_name(bus, b"org.apmigd1", 0))
    print("ready", flush=True)
    if sys.argv[1] == "silent":
        time.sleep(600)
        return
    while True:
        message = ctypes.c_void_p()
        if check(SD.sd_bus_process(bus, ctypes.byref(message))) == 0:
            check(SD.sd_bus_wait(bus, 600 * 1000000))
        elif message and SD.sd_bus_message_is_method_call(message, None, b"AdmitMigration") > 0:
            answer(bus, message, sys.argv[1] == "allow", sys.argv[2])


main()
