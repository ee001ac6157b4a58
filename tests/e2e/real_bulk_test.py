"""iperf3 and sockperf: bulk data in both directions, several streams, checked ping-pong."""

import json
import signal

import lib
from real import RealCase


class Iperf(RealCase):
    programs = ("iperf3",)

    def measure(self, *options):
        port = lib.free_port()
        server = self.listening_server("iperf3", "-s", "-1", "-p", port, "-B", "127.0.0.1",
                                       port=port)
        client = self.client("iperf3", "-c", "127.0.0.1", "-p", port, "-t", 2, "-J", *options)
        result = json.loads(client.finish(60))
        server.finish(30)
        self.assertNotIn("error", result)
        received = result["end"]["sum_received"]["bytes"]
        streams = len(result["start"]["connected"])
        self.assertGreater(received, 0)
        print(f"\n  {' '.join(map(str, options))}: "
              f"{received / 2e9:.2f} GB/s", end=" ")
        for process in (server, client):
            self.prove(process, streams, received // 2)

    def test_one_stream(self):
        self.measure()

    def test_four_streams(self):
        self.measure("-P", 4)

    def test_reverse(self):
        self.measure("-R")

    def test_four_streams_reverse(self):
        self.measure("-P", 4, "-R")

    def test_both_directions(self):
        self.measure("--bidir")

    def test_sendfile(self):
        self.measure("-Z")

    def test_small_messages(self):
        self.measure("-l", 100)


class Sockperf(RealCase):
    programs = ("sockperf",)

    def ping_pong(self, *options):
        port = lib.free_port()
        server = self.listening_server("sockperf", "server", "--tcp", "-i", "127.0.0.1", "-p",
                                       port, port=port)
        client = self.client("sockperf", "ping-pong", "--tcp", "-i", "127.0.0.1", "-p", port,
                             "-t", 2, *options)
        text = client.finish(60) + client.stderr()
        self.assertRegex(text, r"dropped messages = 0; .*out-of-order messages = 0")
        self.assertNotRegex(text, "(?i)data integrity test failed|ERROR")
        server.kill(signal.SIGINT)
        server.wait()
        self.prove(client, 1, 1000)

    def test_small(self):
        self.ping_pong("-m", 14, "--data-integrity")

    def test_large(self):
        self.ping_pong("-m", 60000, "--data-integrity")

    def test_without_blocking(self):
        self.ping_pong("-m", 200, "--data-integrity", "--nonblocked")


if __name__ == "__main__":
    lib.main()
