"""Connections that a relative shares are shared until it ends, whatever ended it."""

import json
import os
import signal
import subprocess

import pair
from pair import lib

SMCU = lib.WRAP_S[0] if lib.WRAP_S else None
CONNECTIONS = 40


class Relatives(pair.Pair):
    def holders(self, end):
        """Of each accelerated connection of the process that made it."""
        done = subprocess.run([SMCU, "ss", "--json"], capture_output=True, timeout=60, check=True)
        rows = json.loads(done.stdout)["connections"]
        return sorted(row["holders"] for row in rows if row["pid"] == end.pid and "holders" in row)

    def look(self, end):
        """One look of its epoll set, in which one connection is ready."""
        end.say("epoll 1")
        end.expect("^done epoll$")

    def test_a_child_that_lives_and_one_that_is_killed(self):
        server, client = self.start_pair("script", "--connections", str(CONNECTIONS))
        server.say("send 1")
        self.look(client)
        self.assertEqual(self.holders(client), [1] * CONNECTIONS)
        client.say("child 1")
        child = int(client.expect(r"^child (\d+)$").group(1))
        for _ in range(20):
            self.look(client)
        self.assertEqual(self.holders(client), [2] * CONNECTIONS)
        os.kill(child, signal.SIGKILL)

        def alone():
            self.look(client)
            return self.holders(client) == [1] * CONNECTIONS
        lib.wait_until(alone, 30, "the end of the child to be noticed")
        client.say("recv 1")
        client.expect("^done recv$")


if __name__ == "__main__":
    lib.main()
