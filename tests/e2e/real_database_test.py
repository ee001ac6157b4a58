"""PostgreSQL with psql and pgbench, MariaDB with its client and mysqlslap: a process or a thread for
each connection, servers that speak first, TLS, cancelled queries, tables copied in and out."""

import glob
import hashlib
import os
import shutil
import signal
import subprocess

import lib
from real import RealCase


class Postgres(RealCase):
    """The server refuses root: it and its clients run as user postgres."""

    def setUp(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = found[-1] if found else "/nonexistent"
        self.programs = tuple(f"{self.bin}/{name}" for name in ("postgres", "initdb", "pgbench"))
        super().setUp()
        self.as_user = self.run_as("postgres")
        self.data = self.folder / "data"
        self.data.mkdir(mode=0o700)
        self.own(self.data)
        self.port = lib.free_port()
        self.environment = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres",
                            "PGDATABASE": "postgres", "HOME": str(self.folder)}
        subprocess.run([*self.as_user, f"{self.bin}/initdb", "-D", self.data, "-A", "trust", "-N",
                        "-U", "postgres", "--locale=C.UTF-8"], check=True, capture_output=True)
        files = self.certificate()
        for name in ("key", "crt"):
            shutil.copy(files[name], self.data / f"server.{name}")
            self.own(self.data / f"server.{name}")
        (self.data / "server.key").chmod(0o600)
        self.postgres = self.listening_server(
            f"{self.bin}/postgres", "-D", self.data, "-p", self.port, "-F", "-c", "ssl=on",
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            port=self.port, wrap=[*self.as_user, *lib.WRAP_S])
        lib.wait_until(lambda: subprocess.run(
            [f"{self.bin}/pg_isready", "-q"], env=dict(os.environ, **self.environment),
            check=False).returncode == 0, 30, "the server")
        self.run_client("pgbench", "-i", "-q")

    def start_client(self, name, *args, tls=False, **options):
        environment = dict(self.environment, PGSSLMODE="require" if tls else "disable")
        return self.client(f"{self.bin}/{name}", *args, env=environment,
                           wrap=[*self.as_user, *lib.WRAP_C], **options)

    def run_client(self, name, *args, seconds=60, **options):
        self.last = self.start_client(name, *args, **options)
        return self.last.finish(seconds)

    def sql(self, text, **options):
        return self.run_client("psql", "-X", "-qAtc", text, **options)

    def end(self, connections, payload_bytes=0):
        self.postgres.kill(signal.SIGINT)
        self.postgres.finish(60)
        self.assertNotIn("PANIC", self.postgres.stderr())
        self.prove(self.postgres, connections, payload_bytes)

    def test_transactions(self):
        self.cancel_and_terminate()
        for tls in (False, True):
            with self.subTest(tls=tls):
                for options in (["-c", 4, "-j", 2, "-t", 50], ["-c", 8, "-M", "prepared", "-S",
                                                               "-t", 500]):
                    text = self.run_client("pgbench", "-n", *options, tls=tls)
                    self.assertIn("number of failed transactions: 0 ", text)
                    self.prove(self.last, options[1])
        count = self.sql("select count(*) from pgbench_history")
        self.assertEqual(count.strip(), "400")
        # The same changes went to the accounts, the tellers and the branches.
        balances = self.sql("select sum(abalance) from pgbench_accounts union select sum(tbalance) "
                            "from pgbench_tellers union select sum(bbalance) from pgbench_branches")
        self.assertEqual(len(balances.split()), 1, balances)
        self.end(24)

    def test_new_connection_for_each_transaction(self):
        """A process is forked for each; its first wait may be for a byte of TLS."""
        for tls in (False, True):
            text = self.run_client("pgbench", "-n", "-C", "-S", "-c", 4, "-j", 2, "-t", 50, tls=tls)
            self.assertIn("number of transactions actually processed: 200/200", text)
        self.end(10)

    def test_copy(self):
        lines = [f"{number}\t{self.choose.randbytes(self.choose.randrange(1, 60)).hex()}\n"
                 for number in range(100_000)]
        data = "".join(lines)
        (self.folder / "in").write_text(data)
        for tls in (False, True):
            self.sql("create table big(number int, text text)", tls=tls)
            self.sql(f"\\copy big from '{self.folder}/in'", tls=tls)
            self.prove(self.last, 1, len(data))
            copied = self.sql("copy (select * from big order by number) to stdout", tls=tls)
            self.assertEqual(hashlib.sha256(copied.encode()).digest(),
                             hashlib.sha256(data.encode()).digest())
            self.prove(self.last, 1, len(data))
            self.assertEqual(self.sql("select count(*) from big").strip(), "100000")
            self.sql("drop table big")
        self.end(5, 4 * len(data))

    def cancel_and_terminate(self):
        """SIGINT makes the client ask, over a connection of its own, that its query be cancelled."""
        waiting = self.start_client("psql", "-X", "-qAtc", "select pg_sleep(60)")
        pids = "select pid from pg_stat_activity where query = 'select pg_sleep(60)'"
        lib.wait_until(lambda: self.sql(pids).strip(), 20, "the query")
        waiting.kill(signal.SIGINT)
        self.assertNotEqual(waiting.wait(), 0)
        self.assertIn("canceling statement due to user request", waiting.stderr())
        waiting = self.start_client("psql", "-X", "-qAtc", "select pg_sleep(60)")
        lib.wait_until(lambda: self.sql(pids).strip(), 20, "the query")
        self.assertEqual(self.sql(f"select pg_terminate_backend(({pids}))").strip(), "t")
        self.assertNotEqual(waiting.wait(), 0)
        self.assertIn("terminating connection due to administrator command", waiting.stderr())
        waiting = self.start_client("psql", "-X", "-qAtc", "select pg_sleep(60)")
        lib.wait_until(lambda: self.sql(pids).strip(), 20, "the query")
        waiting.kill(signal.SIGKILL)
        waiting.wait()
        self.assertEqual(self.sql("select 6 * 7").strip(), "42")


class MariaDb(RealCase):
    programs = ("mariadbd", "mariadb", "mariadb-slap", "mariadb-dump")
    options = ()

    def setUp(self):
        super().setUp()
        self.as_user = self.run_as("mysql")
        self.data = self.folder / "data"
        self.data.mkdir()
        self.own(self.data)
        self.port = lib.free_port()
        files = self.certificate()
        common = ["--no-defaults", f"--datadir={self.data}"]
        bootstrap = ("flush privileges;\ncreate database test;\n"
                     "create user 'tester'@'127.0.0.1' identified by 'secret';\n"
                     "grant all on *.* to 'tester'@'127.0.0.1';\n")
        subprocess.run([*self.as_user, "mariadb-install-db", *common,
                        "--auth-root-authentication-method=normal", "--skip-test-db"],
                       check=True, capture_output=True, cwd=self.data)
        subprocess.run([*self.as_user, self.tool("mariadbd"), *common, "--bootstrap"],
                       input=bootstrap.encode(), check=True,
                       capture_output=True)
        self.mariadb = self.listening_server(
            self.tool("mariadbd"), *common, f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--socket={self.data}/socket", "--innodb-flush-log-at-trx-commit=0",
            "--max-allowed-packet=64M", f"--ssl-cert={files['crt']}", f"--ssl-key={files['key']}",
            *self.options, port=self.port, wrap=[*self.as_user, *lib.WRAP_S])

    def run_client(self, name, *args, data=None, tls=False, seconds=60):
        self.last = self.client(
            name, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}",
            "--user=tester", "--password=secret", f"--ssl={int(tls)}", *args,
            wrap=[*self.as_user, *lib.WRAP_C])
        if data is not None:
            self.last.popen.stdin.write(data.encode())
        self.last.popen.stdin.close()
        return self.last.finish(seconds)

    def end(self, connections, payload_bytes=0):
        self.mariadb.kill(signal.SIGTERM)
        self.mariadb.finish(60)
        self.prove(self.mariadb, connections, payload_bytes)

    def test_rows(self):
        """Random rows written, read and dumped, with and without TLS; one of 20 MB."""
        for tls in (False, True):
            rows = {number: self.choose.randbytes(self.choose.choice((0, 10, 5000, 100_000)))
                    for number in range(100)}
            rows[100] = self.choose.randbytes(10_000_000)
            script = "create or replace table t (n int primary key, b longblob);\n" + "".join(
                f"insert into t values ({number}, x'{value.hex()}');\n"
                for number, value in rows.items())
            self.run_client("mariadb", "--max-allowed-packet=64M", "test", data=script, tls=tls)
            self.prove(self.last, 1, len(script))
            text = self.run_client("mariadb", "-N", "--max-allowed-packet=64M", "test", "-e",
                                   "select n, hex(b) from t order by n", tls=tls)
            expected = "".join(f"{n}\t{value.hex().upper()}\n" for n, value in rows.items())
            self.assertEqual(hashlib.sha256(text.encode()).digest(),
                             hashlib.sha256(expected.encode()).digest())
            self.prove(self.last, 1, len(expected))
            dump = self.run_client("mariadb-dump", "--max-allowed-packet=64M", "--hex-blob",
                                   "--skip-extended-insert", "test", tls=tls)
            for number in (0, 50, 100):
                self.assertIn(f"({number},{'0x' if rows[number] else chr(39) * 2}"
                              f"{rows[number].hex().upper()})", dump)
        self.end(6, 60_000_000)

    def test_load(self):
        for options in (["--concurrency=20", "--iterations=2"],
                        ["--concurrency=4", "--number-of-queries=1000"]):
            text = self.run_client("mariadb-slap", "--auto-generate-sql", "--auto-generate-sql-load"
                                   "-type=mixed", *options, seconds=120)
            self.assertIn("Average number of seconds", text)
        self.killed_connection()
        self.end(20)

    def killed_connection(self):
        waiting = self.client("mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1",
                              f"--port={self.port}", "--user=tester", "--password=secret", "-e",
                              "select sleep(60)", wrap=[*self.as_user, *lib.WRAP_C])
        query = "select id from information_schema.processlist where info = 'select sleep(60)'"
        number = lib.wait_until(lambda: self.run_client("mariadb", "-N", "-e", query).strip(), 20,
                                "the query")
        self.run_client("mariadb", "-e", f"kill {number}")
        self.assertNotEqual(waiting.wait(), 0)
        self.assertRegex(waiting.stderr(), "Lost connection|Connection was killed|unexpected eof")
        self.assertEqual(self.run_client("mariadb", "-N", "-e", "select 6 * 7").strip(), "42")


class MariaDbPool(MariaDb):
    """A few threads for all connections: one sleeps on an epoll set, others look at it between two queries."""

    options = ("--thread-handling=pool-of-threads",)
    test_rows = None


if __name__ == "__main__":
    lib.main()
