"""The containers of a pod: one network namespace, and everything else apart. Both ends may be
process 1 of their own, see nothing of the other in /proc, and share no file."""

import os
import signal
import subprocess
import unittest

import lib

PARTS = ["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--ipc", "--uts"]


def container():
    """The command prefix; an ordinary user needs a user namespace of his own for it."""
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *own_user, *PARTS]


def is_allowed():
    return subprocess.run([*container(), "true"], capture_output=True, check=False).returncode == 0


@unittest.skipUnless(lib.BOTH_SHIMMED, "nothing is shared on plain TCP")
@unittest.skipUnless(is_allowed(), "no namespaces of our own here")
class Pod(lib.Case):
    def exchange(self, server_wrap, client_wrap):
        server = self.server(lib.program("e2e_actor"), "listen", "accept", "pattern-recv:3M",
                             "pattern-send:3M", "shutdown:wr", "recv-all",
                             wrap=[*server_wrap, *lib.WRAP_S])
        client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                             "pattern-send:3M", "pattern-recv:3M", "shutdown:wr", "recv-all",
                             wrap=[*client_wrap, *lib.WRAP_C])
        for process in (client, server):
            self.assertIn(f"pattern {3 << 20} full", process.finish())
            stats = process.stats()
            self.assertEqual((stats["accelerated"], stats["tcp"]), (1, 0))
            self.assertEqual(stats["dmb_rx_bytes"], 3 << 20)

    def test_server_in_a_container(self):
        self.exchange(container(), [])

    def test_client_in_a_container(self):
        self.exchange([], container())

    def test_two_containers(self):
        self.exchange(container(), container())

    def test_a_container_that_is_killed(self):
        """What it had sent arrives, and then the end or the reset that TCP would show."""
        server = self.server(lib.program("e2e_actor"), "listen", "accept", "pattern-send:100k",
                             "go", wrap=[*container(), *lib.WRAP_S])
        client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}", "go",
                             "pattern-recv:200k")
        server.expect("^sent")
        server.kill(signal.SIGKILL)
        server.wait()
        client.say("go")
        self.assertRegex(client.finish().splitlines()[-1], "^pattern 102400 (end|ECONNRESET)$")
        self.assertEqual(client.stats()["accelerated"], 1)


if __name__ == "__main__":
    lib.main()
