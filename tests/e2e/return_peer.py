"""return_peer.py server|client PORT COUNT SEED TRIGGER [together]: connections that return to TCP at
random positions, one behind the other or all at once.

Each connection carries random bytes in both directions at once, in pieces of random size. One side
or both, by the seed, do what only TCP serves (TRIGGER) after a random number of bytes sent or
received, at times with the other side not reading. Every byte is compared; the end of the stream is
checked too.
"""

import array
import ctypes
import fcntl
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fdopen.restype = ctypes.c_void_p
BYTES_MAX = 300_000


class Plan:
    """What both sides know of one connection."""

    def __init__(self, seed, number):
        choose = random.Random(f"{seed} {number}")
        self.sizes = {side: choose.choice((0, 1, 5000, BYTES_MAX)) for side in ("server", "client")}
        self.sizes = {side: choose.randrange(size + 1) for side, size in self.sizes.items()}
        self.switch = choose.choice(("server", "client", "both"))
        self.by_sender = choose.random() < 0.5
        self.data = {side: choose.randbytes(size) for side, size in self.sizes.items()}
        self.choose = choose

    def switches(self, side):
        return self.switch in (side, "both")


class Aiocb(ctypes.Structure):
    """glibc's struct aiocb."""
    _fields_ = [("fd", ctypes.c_int), ("opcode", ctypes.c_int), ("priority", ctypes.c_int),
                ("buffer", ctypes.c_void_p), ("size", ctypes.c_size_t), ("rest", ctypes.c_byte * 136)]


def own_option(sock):
    sock.setsockopt(286, 0x0FE0, 1)


def passed(sock):
    """The stream goes on over the descriptor that came back."""
    with sock_pair() as (one, two):
        one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                              array.array("i", [sock.fileno()]))])
        _, control, _, _ = two.recvmsg(1, socket.CMSG_SPACE(4))
        copy = array.array("i", control[0][2])[0]
        os.dup2(copy, sock.fileno(), inheritable=False)
        os.close(copy)


class sock_pair:
    def __enter__(self):
        self.ends = socket.socketpair()
        return self.ends

    def __exit__(self, *_):
        for end in self.ends:
            end.close()


def spawned(sock):
    """Another program inherits it; it is over before the stream goes on."""
    sock.set_inheritable(True)
    os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)
    sock.set_inheritable(False)


def executed(sock):
    """A child keeps the descriptor over exec."""
    child = os.fork()
    if child == 0:
        sock.set_inheritable(True)
        os.execv("/bin/true", ["true"])
    os.waitpid(child, 0)


def stdio(sock):
    LIBC.fdopen(sock.fileno(), b"r")  # never closed: the number stays ours


def standard_stream(sock):
    """As inetd does; this program has no use for its own standard input."""
    os.dup2(sock.fileno(), 0)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def asynchronous(sock):
    request = Aiocb(fd=sock.fileno())  # of no byte
    LIBC.aio_write(ctypes.byref(request))
    while LIBC.aio_error(ctypes.byref(request)) == 115:  # EINPROGRESS
        LIBC.aio_suspend((ctypes.c_void_p * 1)(ctypes.addressof(request)), 1, None)
    LIBC.aio_return(ctypes.byref(request))


def signals(sock):
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    fcntl.fcntl(sock, fcntl.F_SETFL, flags | os.O_ASYNC)
    fcntl.fcntl(sock, fcntl.F_SETFL, flags)


def kernel_tls(sock):
    sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP; without keys the stream stays as it is


def zero_copy(sock):
    sock.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY
    sock.send(b"", 0x4000000)  # MSG_ZEROCOPY


def urgent_inline(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def device_disabled(sock):
    """The device goes away, under all connections of the process."""
    sock.setsockopt(286, 0x0FE2, 1)


def device_drained(sock):
    """An operator drains the fabric; this connection goes on when it has left."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

    def output(words):
        return subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE).stdout
    drain = os.environ["DRAIN"].split()
    output(drain)
    for _ in range(200):
        rows = json.loads(output([drain[0], "ss", "--json", "--pid", str(os.getpid())]))["connections"]
        if not any(row["fd"] == sock.fileno() and row["mode"] == "SMCD" for row in rows):
            break


TRIGGERS = {function.__name__: function for function in (
    own_option, passed, spawned, executed, stdio, standard_stream, asynchronous, signals,
    kernel_tls, zero_copy, urgent_inline, device_disabled, device_drained)}
ONE_AT_A_TIME = threading.Lock()  # for what uses the process's own descriptors


def ask_for_tcp(sock):
    """Errors: the peer has closed already, the kernel has no TLS, there is no library."""
    try:
        with ONE_AT_A_TIME:
            TRIGGERS[sys.argv[5]](sock)
    except OSError:
        pass


def send(sock, data, at, choose):
    position = 0
    while position < len(data):
        piece = data[position:position + choose.choice((1, 100, 4096, 70_000))]
        sock.sendall(piece)
        if position <= at < position + len(piece):
            ask_for_tcp(sock)
        position += len(piece)
    if at >= len(data):
        ask_for_tcp(sock)
    sock.shutdown(socket.SHUT_WR)


def receive(sock, size, at, choose, result):
    received = hashlib.sha256()
    position = 0
    while True:
        part = sock.recv(choose.choice((1, 1000, 65536)))
        if not part:
            break
        received.update(part)
        if position <= at < position + len(part):
            ask_for_tcp(sock)
        position += len(part)
    result.append((position, received.hexdigest()))


def serve_one(sock, side, seed, number):
    plan = Plan(seed, number)
    other = "client" if side == "server" else "server"
    choose = random.Random(f"{side} {seed} {number}")
    never = BYTES_MAX * 2
    at_send = choose.randrange(len(plan.data[side]) + 1)
    at_receive = choose.randrange(len(plan.data[other]) + 1)
    mine = plan.switches(side)
    result = []
    reader = threading.Thread(target=receive, args=(
        sock, plan.sizes[other], at_receive if mine and not plan.by_sender else never,
        random.Random(choose.random()), result))
    if choose.random() < 0.3:  # the peer meets full buffers first
        send_first = threading.Thread(target=send, args=(
            sock, plan.data[side], at_send if mine and plan.by_sender else -1, choose))
        send_first.start()
        reader.start()
        send_first.join()
    else:
        reader.start()
        send(sock, plan.data[side], at_send if mine and plan.by_sender else -1, choose)
    reader.join()
    expected = (len(plan.data[other]), hashlib.sha256(plan.data[other]).hexdigest())
    if result != [expected]:
        print(f"{side} {number}: {result} instead of {expected}", file=sys.stderr, flush=True)
        os._exit(1)  # of any thread
    sock.close()


def main():
    side, port, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if side == "server":
        listener = socket.create_server(("127.0.0.1", port))
        print("ready", flush=True)
    together = []
    for number in range(count):
        if side == "server":
            sock = listener.accept()[0]
        else:
            sock = socket.create_connection(("127.0.0.1", port))
        if sys.argv[6:] == ["together"]:
            together.append(threading.Thread(target=serve_one, args=(sock, side, seed, number)))
            together[-1].start()
        else:
            serve_one(sock, side, seed, number)
    for thread in together:
        thread.join()
    print("ok", flush=True)


main()
