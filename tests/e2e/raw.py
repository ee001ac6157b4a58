"""Scripted peers over plain sockets: a client that marks its SYN, a server with a beacon."""

import os
import socket
import struct

import clc
import lib

MARK = 0x1C  # the DSCP that says "a Proposal will follow"


def client(port, marked=True):
    """A connected socket; a server under the library believes that it speaks SMC if marked."""
    sock = socket.socket()
    if marked:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, MARK)
    sock.settimeout(20 * lib.SCALE)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Server:
    """A listener; with its beacon, a client under the library sends it a Proposal."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(512)
        self.listener.settimeout(20 * lib.SCALE)
        self.port = self.listener.getsockname()[1]
        self.beacon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.beacon.bind(f"\0smcd/l/{os.fstat(self.listener.fileno()).st_ino}")

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(20 * lib.SCALE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self):
        self.listener.close()
        self.beacon.close()


def receive(sock, size):
    """Exactly `size` bytes, or less if the stream ends or breaks; fails after the timeout."""
    data = b""
    while len(data) < size:
        try:
            part = sock.recv(size - len(data))
        except ConnectionError:
            return data
        except TimeoutError:
            raise lib.Failure(f"{len(data)} of {size} bytes, then silence: {data[:300]!r}") \
                from None
        if not part:
            return data
        data += part
    return data


def receive_all(sock):
    """(the bytes up to the end, "end" or "reset"); fails after the timeout."""
    data = b""
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionError:
            return data, "reset"
        except TimeoutError:
            raise lib.Failure(f"no end of the stream after {data[:300]!r}") from None
        if not part:
            return data, "end"
        data += part


def receive_until(sock, tail):
    """Receives until the bytes end with `tail`; fails if the stream ends before."""
    data = b""
    while not data.endswith(tail):
        part = receive(sock, 1)
        if not part:
            raise lib.Failure(f"the stream ended after {data!r}, without {tail!r}")
        data += part
    return data


def message(sock):
    """Reads exactly one CLC message; fails on anything else."""
    head = receive(sock, 8)
    size = int.from_bytes(head[5:7], "big") if len(head) == 8 else 0
    data = head + receive(sock, max(0, min(size, clc.MESSAGE_BYTES_MAX) - 8))
    if clc.first_message(data) is None:
        raise lib.Failure(f"not a CLC message: {data!r}")
    return data


def send_quietly(sock, data):
    """Sends; a peer that closed or reset in between is no error of the script."""
    try:
        sock.sendall(data)
    except ConnectionError:
        pass


def end_input(sock):
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def reset(sock):
    """Closes with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
