"""nginx with two workers: files by curl, load by wrk, a reload, and a proxy to itself."""

import hashlib
import os
import re
import signal

import lib
from real import RealCase

SIZES = (1, 2, 100, 4095, 4096, 65535, 65537, 262_144, 1_000_003, 20_000_000)
CONFIGURATION = """
{user}
worker_processes 2;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port} {listen};
        root {folder}/www;
        location / {{ sendfile on; }}
        location /copied/ {{ alias {folder}/www/; sendfile off; }}
        location /proxied/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_buffering {buffering}; }}
    }}
}}
"""


class Nginx(RealCase):
    programs = ("nginx", "curl")

    def setUp(self):
        super().setUp()
        self.port = lib.free_port()
        (self.folder / "www").mkdir()
        self.digests = {}
        for size in SIZES:
            data = self.choose.randbytes(size)
            (self.folder / "www" / str(size)).write_bytes(data)
            self.digests[str(size)] = hashlib.sha256(data).hexdigest()

    def start_nginx(self, listen="", buffering="on"):
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(CONFIGURATION.format(
            user=user, folder=self.folder, port=self.port, listen=listen, buffering=buffering))
        self.nginx = self.listening_server(self.tool("nginx"), "-p", self.folder, "-e",
                                           self.folder / "error.log", "-c",
                                           self.folder / "nginx.conf", port=self.port)

    def end(self, connections, payload_bytes=0):
        self.nginx.kill(signal.SIGQUIT)
        self.nginx.finish(60)
        errors = (self.folder / "error.log").read_text()
        self.assertNotRegex(errors, r"\[(alert|emerg|crit)\]|exited on signal")
        self.prove(self.nginx, connections, payload_bytes)

    def fetch(self, prefix="", names=None, options=()):
        """One curl for all names over one connection; contents compared."""
        names = names or list(self.digests)
        target = self.folder / "got"
        target.mkdir(exist_ok=True)
        args = []
        for name in names:
            args += ["-o", target / name, f"http://127.0.0.1:{self.port}/{prefix}{name}"]
        client = self.client("curl", "-sS", "--fail", "--noproxy", "*", "--max-time", 60,
                             *options, *args)
        client.finish(90)
        for name in names:
            self.assertEqual(hashlib.sha256((target / name).read_bytes()).hexdigest(),
                             self.digests[name], f"/{prefix}{name}")
        return client

    def test_files(self):
        self.start_nginx()
        total = sum(int(name) for name in self.digests)
        for prefix in ("", "copied/"):
            self.prove(self.fetch(prefix), 1, total)
        for name in self.digests:
            self.fetch("", [name])
        self.fetch("", options=["--limit-rate", "20M"])
        self.end(3 + len(SIZES), 3 * total)

    def test_deferred_and_shared_listeners(self):
        """accept options of nginx: each must work, accelerated or not."""
        for listen in ("deferred", "reuseport", "backlog=5", "so_keepalive=on"):
            with self.subTest(listen=listen):
                self.port = lib.free_port()
                self.start_nginx(listen)
                for _ in range(4):
                    self.fetch("", ["100", "1000003"])
                self.nginx.kill(signal.SIGQUIT)
                self.nginx.finish(60)

    def test_proxy(self):
        for buffering in ("on", "off"):
            with self.subTest(buffering=buffering):
                self.port = lib.free_port()
                self.start_nginx(buffering=buffering)
                self.fetch("proxied/")
                self.end(2)

    def test_load(self):
        if not self.tool("wrk"):
            self.skipTest("wrk is not installed")
        self.start_nginx()
        for name, connections in (("100", 40), ("65537", 20), ("1000003", 4)):
            with self.subTest(name=name):
                client = self.client("wrk", "-t", 2, "-c", connections, "-d", "2s",
                                     f"http://127.0.0.1:{self.port}/{name}")
                text = client.finish(60)
                self.assertNotIn("Socket errors", text)
                self.assertNotIn("Non-2xx", text)
                requests = int(re.search(r"(\d+) requests in", text).group(1))
                self.assertGreater(requests, 0, text)
                print(f"\n  {name} B: {requests} requests", end=" ")
                self.prove(client, connections, requests * int(name) // 2)
        self.fetch()
        self.end(60)

    def test_reload_while_serving(self):
        """Old workers finish their requests, new ones take over: no client notices."""
        self.start_nginx()
        slow = self.client("curl", "-sS", "--noproxy", "*", "--limit-rate", "10M", "-o",
                           self.folder / "slow", f"http://127.0.0.1:{self.port}/20000000")
        for _ in range(5):
            self.nginx.kill(signal.SIGHUP)
            for _ in range(3):
                self.fetch("", ["1", "65537"])
        slow.finish(60)
        self.assertEqual(hashlib.sha256((self.folder / "slow").read_bytes()).hexdigest(),
                         self.digests["20000000"])
        self.end(10)


if __name__ == "__main__":
    lib.main()
