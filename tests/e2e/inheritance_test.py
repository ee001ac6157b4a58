"""Servers that fork for each connection: the handshake begins in the child.

A connection that several processes keep open stays on TCP.
"""

import lib

# argv[1]: who does what with each connection.
SERVER = """
import os, signal, socket, sys, time
plan = sys.argv[1]
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print("port", listener.getsockname()[1], flush=True)

def echo(sock, limit=1 << 60):
    while limit > 0 and (data := sock.recv(min(65536, limit))):
        sock.sendall(data)
        limit -= len(data)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid

def serve(sock):
    if plan == "child":
        in_child(lambda: echo(sock))
    elif plan == "grandchild":  # with a program beside it that never touches the connection
        def work():
            if in_child(lambda: os.execv("/bin/true", ["true"])) > 0:
                echo(sock)
        in_child(work)
    elif plan == "both":
        read, write = os.pipe()
        pid = in_child(lambda: (echo(sock, 10_000), os.write(write, b"x"), signal.pause()))
        os.read(read, 1)
        echo(sock)
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    elif plan == "killed":
        read, write = os.pipe()
        pid = in_child(lambda: (echo(sock, 10_000), os.write(write, b"x"), signal.pause()))
        os.read(read, 1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        echo(sock)

while True:
    sock, _ = listener.accept()
    serve(sock)
    sock.close()
    if plan in ("child", "grandchild"):
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
"""

CLIENT = """
import os, socket, sys, threading
port, connections, size = map(int, sys.argv[1:4])
def one(number, failures):
    try:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            data = os.urandom(size)
            def send():
                sock.sendall(data[:10_000])
                sock.sendall(data[10_000:])
                sock.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            got = b""
            while len(got) < size and (part := sock.recv(65536)):
                got += part
            sender.join()
            assert got == data, f"{len(got)} of {size} bytes"
    except Exception as error:
        failures.append(f"{number}: {error!r}")
failures = []
threads = [threading.Thread(target=one, args=(n, failures)) for n in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("failures", failures, flush=True)
assert not failures
print("ok", flush=True)
"""


class Inheritance(lib.Case):
    def run_plan(self, plan, connections, size=100_000):
        server = self.server(lib.PYTHON, "-c", SERVER, plan, env={"SMCD_LEARN": "0"})
        client = self.client(lib.PYTHON, "-c", CLIENT, server.port(), connections, size,
                             env={"SMCD_LEARN": "0"})
        self.assertIn("ok", client.finish(60))
        return server, client

    def prove(self, client):
        """Not all: on a busy machine a child may answer later than its client's patience lasts."""
        if lib.BOTH_SHIMMED:
            self.assertGreater(client.stats().get("accelerated", 0), 0, client.stats())

    def test_the_child_has_it(self):
        _, client = self.run_plan("child", 20)
        self.prove(client)

    def test_beside_a_program_that_does_not_touch_it(self):
        _, client = self.run_plan("grandchild", 20)
        self.prove(client)

    def test_a_storm_of_clients(self):
        for _ in range(3):
            self.run_plan("child", 60, 40_000)

    def test_the_parent_goes_on_beside_the_child(self):
        self.run_plan("both", 3)

    def test_the_child_is_killed_and_the_parent_goes_on(self):
        self.run_plan("killed", 3)


if __name__ == "__main__":
    lib.main()
