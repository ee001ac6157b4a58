"""A thread waits in recv() while another puts another file in the descriptor's place and interrupts
it, as Java's close() does."""

import lib
import raw

PROGRAM = """
import os, signal, socket, sys, threading, time
signal.signal(signal.SIGUSR1, lambda *_: None)
ended, other = socket.socketpair()
other.close()
def wait(sock, result):
    result.append(sock.recv(100))  # interrupted, it is called again and finds the other file
for _ in range(int(sys.argv[2])):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(b"hello")
    assert sock.recv(5) == b"hello"
    result = []
    thread = threading.Thread(target=wait, args=(sock, result))
    thread.start()
    time.sleep(float(sys.argv[3]))  # it is to be asleep, or still awake under a profile that polls for a second
    os.dup2(ended.fileno(), sock.fileno())
    signal.pthread_kill(thread.ident, signal.SIGUSR1)
    thread.join()
    assert result == [b""], result
    sock.close()
"""

UNDECIDED = """
import os, random, signal, socket, sys, threading, time
signal.signal(signal.SIGUSR1, lambda *_: None)
ended, other = socket.socketpair()
other.close()
for _ in range(400):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    result = []
    thread = threading.Thread(target=lambda: result.append(sock.recv(100)))
    thread.start()
    end = time.perf_counter() + random.random() * 0.0002
    while time.perf_counter() < end:
        pass
    os.dup2(ended.fileno(), sock.fileno())
    signal.pthread_kill(thread.ident, signal.SIGUSR1)
    thread.join()
    assert result == [b""], result
    sock.close()
print("interrupted")
"""


TWO_CONNECTIONS = """
import os, random, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=answer, args=(sock,), daemon=True).start()
def answer(sock):
    while question := sock.recv(1):
        time.sleep(0.003 if question == b"1" else 0)
        sock.sendall(question)
if sys.argv[1] == "serve":
    print("port", listener.getsockname()[1], flush=True)
    serve()
second = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
for _ in range(1500):
    first = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    second.sendall(b"2")
    first.sendall(b"1")
    result = []
    thread = threading.Thread(target=lambda: result.append(first.recv(1)))
    thread.start()
    end = time.perf_counter() + random.random() * 0.0001
    while time.perf_counter() < end:
        pass
    os.dup2(second.fileno(), first.fileno())
    thread.join(10)
    assert result in ([b"1"], [b"2"]), result
    assert result == [b"2"] or second.recv(1) == b"2"
    first.close()
print("answered")
"""


REFUSED = """
import ctypes, errno, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
address = ("127.0.0.1", int(sys.argv[1]))
with socket.create_connection(address) as first, socket.create_connection(address) as second:
    for source, flags, error in ((second.fileno(), 1, errno.EINVAL), (9999, 0, errno.EBADF)):
        assert libc.dup3(source, first.fileno(), flags) == -1
        assert ctypes.get_errno() == error
        for sock in (first, second):
            sock.sendall(b"still")
            assert sock.recv(5) == b"still"
print("both")
"""


class ClosedWhileWaiting(lib.Case):
    def check(self, rounds, seconds, environment=None):
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.PYTHON, "-c", PROGRAM, server.port(), str(rounds), str(seconds), env=environment)
        client.finish(60)
        server.kill(15)
        server.finish()
        self.check_stats(server, client, 1)

    def test_another_file_in_its_place(self):
        self.check(20, 0.01)

    def test_before_it_falls_asleep(self):
        # The one signal comes while the call polls: nothing may put it to sleep behind that.
        self.check(2, 0.01, {"SMCD_PROFILE": "isolated"})

    def test_before_the_verdict(self):
        """The server never answers the Proposal, so a call that misses the one signal waits for ever."""
        silent = raw.Server()
        self.addCleanup(silent.close)
        client = self.client(lib.PYTHON, "-c", UNDECIDED, silent.port)
        client.expect("^interrupted$", 60)

    def test_another_connection_in_its_place(self):
        """A call that came too late for the first connection reads the second one, and not its idle TCP connection."""
        server = self.server(lib.PYTHON, "-c", TWO_CONNECTIONS, "serve")
        client = self.client(lib.PYTHON, "-c", TWO_CONNECTIONS, "ask", server.port(), env={"SMCD_LEARN": "0"})
        client.expect("^answered$", 60)
        client.finish()

    def test_a_replacement_that_the_kernel_refuses(self):
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.PYTHON, "-c", REFUSED, server.port())
        self.assertEqual(client.finish(), "both\n")
        server.kill(15)
        server.finish()
        self.check_stats(server, client, 2)


if __name__ == "__main__":
    lib.main()
