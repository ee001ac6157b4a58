"""return_peer.py server|client PORT COUNT SEED: connections that return to TCP at random positions.

Each connection carries random bytes in both directions at once, in pieces of random size. One side
or both, by the seed, ask for plain TCP after a random number of bytes sent or received, at times
with the other side not reading. Every byte is compared; the end of the stream is checked too.
"""

import hashlib
import random
import socket
import sys
import threading

RETURN_TO_TCP = (286, 0x0FE0)  # the library's own socket option
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


def ask_for_tcp(sock):
    """Plain TCP, or ENOTCONN if the peer has closed already; without the library no such option."""
    try:
        sock.setsockopt(*RETURN_TO_TCP, 1)
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
        raise SystemExit(f"{side} {number}: {result} instead of {expected}")
    sock.close()


def main():
    side, port, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if side == "server":
        listener = socket.create_server(("127.0.0.1", port))
        print("ready", flush=True)
    for number in range(count):
        if side == "server":
            sock = listener.accept()[0]
        else:
            sock = socket.create_connection(("127.0.0.1", port))
        serve_one(sock, side, seed, number)
    print("ok", flush=True)


main()
