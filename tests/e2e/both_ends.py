"""A program that holds both ends of its connections. Prints, for each sequence of calls, what they returned: on TCP over loopback
the other end knows of each call as soon as it has returned."""

import errno
import fcntl
import select
import socket
import struct
import sys
import termios

RESET = struct.pack("ii", 1, 0)
BEFORE = ("", "c", "s", "cs", "x")  # who sends first; x: the client, and the server receives it
DONE = ("nothing", "close", "write", "both", "reset")  # what one end does then
AFTER = ("ww", "wrw", "rww", "rwh", "pwpwp", "wen", "rrr", "h", "wh", "prpwe", "qrqwq", "srsws", "urw", "kkr")


def poll(sock):
    poller = select.poll()
    poller.register(sock, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    return poller.poll(0)[0][1]


def epoll(sock):
    with select.epoll() as poller:
        poller.register(sock, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)
        return poller.poll(0)[0][1]


CALLS = {
    "r": lambda sock: sock.recv(100),
    "k": lambda sock: sock.recv(3, socket.MSG_PEEK),
    "w": lambda sock: sock.send(b"x" * 10),
    "p": poll,
    "q": epoll,
    "s": lambda sock: [len(part) for part in select.select([sock], [sock], [sock], 0)],
    "u": lambda sock: struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"0000"))[0],
    "h": lambda sock: sock.shutdown(socket.SHUT_RDWR),
    "n": lambda sock: sock.getpeername()[0],
    "e": lambda sock: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
}


def result(call, sock):
    try:
        return f"{call}={CALLS[call](sock)}"
    except OSError as error:
        return f"{call}={errno.errorcode[error.errno]}"


def connect(listener, waits):
    client = socket.socket()
    client.setblocking(waits)
    client.connect_ex(listener.getsockname())
    return client, listener.accept()[0]


def sequence(listener, waits, who, before, done, after):
    client, server = connect(listener, waits)
    if before in ("c", "cs", "x"):
        client.send(b"hello")
    if before in ("s", "cs"):
        server.send(b"world")
    if before == "x":
        server.recv(10)
    one, other = (client, server) if who == "c" else (server, client)
    if done == "reset":
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    if done in ("close", "reset"):
        one.close()
    elif done != "nothing":
        one.shutdown(socket.SHUT_WR if done == "write" else socket.SHUT_RDWR)
    other.setblocking(False)
    results = " ".join(result(call, other) for call in after)
    other.close()
    one.close()
    return results


def main(waits):
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    for who in "cs":
        for before in BEFORE:
            for done in DONE:
                for after in AFTER:
                    name = f"{who} {before or '-'} {done} {after}"
                    print(f"{name}: {sequence(listener, waits, who, before, done, after)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] == "blocking")
