"""redis-server with redis-cli and redis-benchmark: contents checked, a fork while it serves."""

import lib
from real import RealCase


class Redis(RealCase):
    programs = ("redis-server", "redis-cli", "redis-benchmark")

    def setUp(self):
        super().setUp()
        self.port = lib.free_port()
        self.redis = self.listening_server(
            self.tool("redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", self.folder, "--enable-debug-command", "local",
            port=self.port)

    def cli(self, *args, data=None, seconds=30):
        """The raw output of redis-cli; `data` is its standard input."""
        client = self.client(self.tool("redis-cli"), "-p", self.port, *args)
        if data is not None:
            client.popen.stdin.write(data)
        client.popen.stdin.close()
        status = client.wait(seconds)
        self.assertEqual(status, 0, client.report())
        self.last = client
        return client.output

    def end(self, connections, payload_bytes=0):
        self.redis.kill(15)
        self.redis.finish()
        self.prove(self.redis, connections, payload_bytes)

    def test_random_values(self):
        values = {}
        for number in range(40):
            size = self.choose.choice((0, 1, 100, 4095, 4096, 70_000, 1_000_000))
            values[f"key{number}"] = self.choose.randbytes(size)
        for key, value in values.items():
            self.assertEqual(self.cli("-x", "set", key, data=value), b"OK\n")
            self.prove(self.last, 1, len(value))
        for key, value in values.items():
            self.assertEqual(self.cli("--raw", "get", key), value + b"\n", key)
        self.end(80, 2 * sum(len(value) for value in values.values()))

    def test_large_value(self):
        value = self.choose.randbytes(8 << 20)
        self.assertEqual(self.cli("-x", "set", "large", data=value), b"OK\n")
        self.assertEqual(self.cli("strlen", "large").strip(), str(len(value)).encode())
        self.assertEqual(self.cli("--raw", "get", "large"), value + b"\n")
        self.end(3, 2 * len(value))

    def test_many_values_through_one_pipe(self):
        values = {f"k{number}": self.choose.randbytes(self.choose.randrange(3000))
                  for number in range(3000)}
        script = b"".join(
            b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n"
            % (len(key), key.encode(), len(value), value) for key, value in values.items())
        text = self.cli("--pipe", data=script).decode()
        self.assertIn("errors: 0, replies: 3000", text)
        self.assertEqual(self.cli("dbsize").strip(), b"3000")
        for key in self.choose.sample(sorted(values), 30):
            self.assertEqual(self.cli("--raw", "get", key), values[key] + b"\n")
        self.end(32, len(script))

    def test_benchmark(self):
        commands = "set,get,incr,lrange_100"
        for options in (["-c", 20, "-t", commands], ["-c", 50, "-P", 16, "-t", commands],
                        ["-c", 8, "-d", 20000, "-t", "set,get"],
                        ["-c", 16, "--threads", 2, "-t", commands]):
            with self.subTest(options=options):
                client = self.client(self.tool("redis-benchmark"), "-p", self.port, "-n", 3000,
                                     "-q", *options)
                text = client.finish(120)
                self.assertNotIn("rror", text + client.stderr())
                self.assertIn("GET: ", text)
                self.prove(client, options[1])
        self.end(90)

    def test_fork_while_serving(self):
        """BGSAVE forks with all connections open; clients before, during and after."""
        self.cli("debug", "populate", "50000", "k", "200")
        waiting = self.client(self.tool("redis-cli"), "-p", self.port, "blpop", "queue", "60")
        lib.wait_until(lambda: b"blocked_clients:1" in self.cli("info", "clients"), 20,
                       "a blocked client")
        self.assertIn(b"Background saving started", self.cli("bgsave"))
        self.assertEqual(self.cli("dbsize").strip(), b"50000")
        lib.wait_until(lambda: b"rdb_bgsave_in_progress:0" in self.cli("info", "persistence"), 60,
                       "the end of the save")
        self.assertIn(b"rdb_last_bgsave_status:ok", self.cli("info", "persistence"))
        self.cli("rpush", "queue", "element")
        self.assertIn("element", waiting.finish())
        self.end(5)


if __name__ == "__main__":
    lib.main()
