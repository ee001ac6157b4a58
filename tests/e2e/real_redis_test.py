"""redis-server with redis-cli and redis-benchmark: contents checked, a fork while it serves, Lua,
replicas."""

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

    def test_lua(self):
        """Scripts that read and write on the server, with large arguments and answers."""
        value = self.choose.randbytes(3_000_000)
        self.assertEqual(self.cli("-x", "set", "value", data=value), b"OK\n")
        double = "local v = redis.call('get', KEYS[1]) redis.call('set', KEYS[2], v .. v) return v"
        self.assertEqual(self.cli("--raw", "eval", double, "2", "value", "twice"), value + b"\n")
        self.assertEqual(self.cli("--raw", "get", "twice"), value + value + b"\n")
        many = ("for i = 1, ARGV[1] do redis.call('rpush', 'list', i * i) end "
                "return redis.call('lrange', 'list', 0, -1)")
        expected = "".join(f"{number * number}\n" for number in range(1, 20_001)).encode()
        self.assertEqual(self.cli("--raw", "eval", many, "0", "20000"), expected)
        self.end(4, 12_000_000)

    def replica_of(self, port):
        replica_port = lib.free_port()
        replica = self.listening_server(
            self.tool("redis-server"), "--port", replica_port, "--bind", "127.0.0.1", "--save", "",
            "--dir", self.folder, "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
            "--replicaof", "127.0.0.1", port, port=replica_port)
        return replica, replica_port

    def test_replication(self):
        """A replica gets all of it from a child of the master, then what changes; another takes it
        from the replica. A link that breaks is taken up again."""
        for number in range(20):
            self.cli("-x", "set", f"key{number}", data=self.choose.randbytes(200_000))
        self.cli("debug", "populate", "20000", "k", "100")
        first, first_port = self.replica_of(self.port)
        second, second_port = self.replica_of(first_port)
        def same():
            sizes = [self.client(self.tool("redis-cli"), "-p", port, "dbsize").finish(30)
                     for port in (self.port, first_port, second_port)]
            return len(set(sizes)) == 1
        lib.wait_until(same, 60, "the first copy")
        for number in range(20, 30):
            self.cli("-x", "set", f"key{number}", data=self.choose.randbytes(200_000))
        self.cli("client", "kill", "type", "replica")  # the link breaks, and is taken up again
        self.cli("-x", "set", "last", data=self.choose.randbytes(100_000))
        lib.wait_until(same, 60, "what has changed")
        for number in (0, 19, 29):
            values = {self.client(self.tool("redis-cli"), "--raw", "-p", port, "get",
                                  f"key{number}").finish(30)
                      for port in (self.port, first_port, second_port)}
            self.assertEqual(len(values), 1, number)
        for server in (second, first, self.redis):
            server.kill(15)
            server.finish(30)
        self.prove(first, 2, 4_000_000, inner=True)
        self.prove(self.redis, 30, 5_000_000, inner=True)


if __name__ == "__main__":
    lib.main()
