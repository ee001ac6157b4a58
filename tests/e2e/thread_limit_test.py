"""A server that forbids itself further threads, as HAProxy does: ours has begun before, and connections are accelerated.

The limit does not bind root: the processes become user nobody first.
"""

import lib

NOBODY = 65534

SERVER = """
import ctypes, os, resource, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if os.geteuid() == 0:
    os.setresuid(*[int(sys.argv[1])] * 3)
limit = (ctypes.c_ulong * 2)(0, 0)
libc = ctypes.CDLL(None)
{"setrlimit": lambda: libc.setrlimit(resource.RLIMIT_NPROC, limit),
 "setrlimit64": lambda: libc.setrlimit64(resource.RLIMIT_NPROC, limit),
 "prlimit": lambda: libc.prlimit(0, resource.RLIMIT_NPROC, limit, None),
 "prlimit64": lambda: libc.prlimit64(os.getpid(), resource.RLIMIT_NPROC, limit, None)}[sys.argv[2]]()
assert resource.getrlimit(resource.RLIMIT_NPROC) == (0, 0)
print("port", listener.getsockname()[1], flush=True)
sock = listener.accept()[0]
while data := sock.recv(100000):
    sock.sendall(data)
"""

CLIENT = """
import os, socket, sys
if os.geteuid() == 0:
    os.setresuid(*[int(sys.argv[1])] * 3)
sock = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
for size in (1, 5000, 60000):
    sock.sendall(b"x" * size)
    assert sock.recv(size, socket.MSG_WAITALL) == b"x" * size
"""


class ThreadLimit(lib.Case):
    def setUp(self):
        super().setUp()
        self.folder.chmod(0o777)  # the statistics are written by user nobody

    def test_server(self):
        for call in ("setrlimit", "setrlimit64", "prlimit", "prlimit64"):
            with self.subTest(call=call):
                server = self.server(lib.PYTHON, "-c", SERVER, str(NOBODY), call)
                client = self.client(lib.PYTHON, "-c", CLIENT, str(NOBODY), server.port())
                client.finish(30)
                server.finish(30)
                self.check_stats(server, client, 1)


if __name__ == "__main__":
    lib.main()
