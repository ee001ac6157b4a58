"""HAProxy in front of nginx, and Apache with a process or a thread for each connection: files through
chains of keep-alive connections, splice(), TLS, and reloads that no client notices."""

import hashlib
import os
import re
import signal

import lib
from real import RealCase

SIZES = (1, 100, 4096, 65537, 1_000_003, 20_000_000)

NGINX = """
{user}
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    upstream haproxy {{ server 127.0.0.1:{http}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        root {folder}/www;
        location /chain/ {{
            proxy_pass http://haproxy/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 400
    nbthread 2
    stats socket {folder}/haproxy.sock mode 600 level admin expose-fd listeners
defaults
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    option splice-auto
frontend http
    mode http
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{tls} ssl crt {pem}
    default_backend web
backend web
    mode http
    http-reuse never  # 2.6 crashes at times when idle connections to servers are left at its exit
    server nginx 127.0.0.1:{port} check inter 500
listen stream
    mode tcp
    bind 127.0.0.1:{tcp}
    server nginx 127.0.0.1:{port}
"""

APACHE = """
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
Mutex file:{folder}
LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
ServerName localhost
StartServers 2
ThreadsPerChild 8
Listen 127.0.0.1:{port}
Listen 127.0.0.1:{tls}
EnableSendfile {sendfile}
DocumentRoot {folder}/www
KeepAlive On
MaxKeepAliveRequests 0
ProxyPass /chain/ http://127.0.0.1:{port}/
<VirtualHost 127.0.0.1:{tls}>
    SSLEngine on
    SSLCertificateFile {crt}
    SSLCertificateKeyFile {key}
</VirtualHost>
"""


class Web(RealCase):
    """Files of random bytes, and curl that fetches them."""

    def setUp(self):
        super().setUp()
        self.files = self.certificate()
        (self.folder / "www").mkdir()
        self.digests = {}
        for size in SIZES:
            data = self.choose.randbytes(size)
            (self.folder / "www" / str(size)).write_bytes(data)
            self.digests[str(size)] = hashlib.sha256(data).hexdigest()
        self.total = sum(SIZES)

    def start_curl(self, base, names, *options, parallel=False):
        target = self.folder / "got"
        target.mkdir(exist_ok=True)
        self.own(target)
        args = []
        for name in names:
            args += ["-o", target / name, f"{base}/{name}"]
        return self.client("curl", "-sS", "--fail", "--noproxy", "*", "--max-time", 90, "--cacert",
                           self.files["crt"], *(["-Z"] if parallel else []), *options, *args)

    def check(self, names):
        for name in names:
            digest = hashlib.sha256((self.folder / "got" / name).read_bytes()).hexdigest()
            self.assertEqual(digest, self.digests[name], name)

    def fetch(self, base, names=None, **options):
        names = names or list(self.digests)
        client = self.start_curl(base, names, **options)
        client.finish(120)
        self.check(names)
        return client

    def load(self, base, connections=20, may_be_ended=False):
        """wrk; may_be_ended: the server ends connections that keep it from others."""
        client = self.client("wrk", "-t", 2, "-c", connections, "-d", "1s", f"{base}/65537")
        text = client.finish(60)
        if not may_be_ended:
            self.assertNotIn("Socket errors", text)
        self.assertNotIn("Non-2xx", text)
        self.assertGreater(int(re.search(r"(\d+) requests in", text).group(1)), 0, text)
        return client


class HaProxy(Web):
    programs = ("haproxy", "nginx", "curl", "wrk")

    def setUp(self):
        super().setUp()
        self.ports = {name: lib.free_port() for name in ("port", "http", "tls", "tcp")}
        user = "user root;" if os.geteuid() == 0 else ""
        for name, text in (("nginx", NGINX), ("haproxy", HAPROXY)):
            (self.folder / f"{name}.conf").write_text(
                text.format(folder=self.folder, user=user, pem=self.files["pem"], **self.ports))
        self.nginx = self.listening_server(
            self.tool("nginx"), "-p", self.folder, "-e", self.folder / "error.log", "-c",
            self.folder / "nginx.conf", port=self.ports["port"])
        self.haproxy = self.start_haproxy()

    def start_haproxy(self, *options):
        return self.listening_server(self.tool("haproxy"), "-db", "-f",
                                     self.folder / "haproxy.conf", *options,
                                     port=self.ports["tcp"])

    def base(self, name, scheme="http"):
        host = "localhost" if scheme == "https" else "127.0.0.1"
        return f"{scheme}://{host}:{self.ports[name]}"

    def end(self, connections, payload_bytes=0):
        for process, number in ((self.haproxy, signal.SIGUSR1), (self.nginx, signal.SIGQUIT)):
            process.kill(number)
            process.wait(60)
        self.assertNotIn("[ALERT]", self.haproxy.stderr())
        self.assertNotRegex((self.folder / "error.log").read_text(),
                            r"\[(alert|emerg|crit)\]|exited on signal")
        self.prove(self.haproxy, connections, payload_bytes, inner=True)
        self.prove(self.nginx, 1, payload_bytes // 2, inner=True)

    def test_files_and_load(self):
        for base in (self.base("http"), self.base("tcp"), self.base("tls", "https")):
            with self.subTest(base=base):
                for parallel in (False, True):
                    self.prove(self.fetch(base, parallel=parallel), 1, self.total)
        # curl - nginx - haproxy - nginx
        self.fetch(self.base("port") + "/chain", parallel=True)
        for name in ("http", "tcp"):
            self.load(self.base(name))
        self.load(self.base("port") + "/chain", 8)
        self.end(20, 8 * self.total)

    def test_reload_while_serving(self):
        """The new process gets the listeners as descriptors from the old one, which ends when its
        connections have."""
        slow = self.start_curl(self.base("tcp"), ["20000000"], "--limit-rate", "8M")
        lib.wait_until(lambda: (self.folder / "got" / "20000000").exists(), 20, "the first bytes")
        old = []
        for _ in range(4):
            old.append(self.haproxy)
            self.haproxy = self.start_haproxy("-x", self.folder / "haproxy.sock", "-sf",
                                              old[-1].pid)
            for _ in range(4):
                self.fetch(self.base("http"), ["1", "65537"])
            lib.wait_until(lambda: "Proxy stream stopped" in old[-1].stderr(), 20, "the handover")
        slow.finish(90)
        self.check(["20000000"])
        for process in old:
            process.finish(60)
        self.prove(old[0], 1, 20_000_000, inner=True)
        self.end(1)


class Apache(Web):
    programs = ("apache2", "curl", "wrk")

    def start_apache(self, mpm, sendfile):
        self.port, self.tls = lib.free_port(), lib.free_port()
        text = APACHE.format(folder=self.folder, mpm=mpm, port=self.port, tls=self.tls,
                             modules="/usr/lib/apache2/modules", sendfile=sendfile,
                             key=self.files["key"], crt=self.files["crt"])
        if mpm == "prefork":
            text = text.replace("ThreadsPerChild 8", "")
        (self.folder / "apache.conf").write_text(text)
        self.as_user = self.run_as("www-data")
        self.own(self.folder)
        self.apache = self.listening_server(
            self.tool("apache2"), "-DFOREGROUND", "-f", self.folder / "apache.conf",
            port=self.tls, wrap=[*self.as_user, *lib.WRAP_S])

    def serve(self, mpm, sendfile):
        self.start_apache(mpm, sendfile)
        base, tls = f"http://127.0.0.1:{self.port}", f"https://localhost:{self.tls}"
        for address in (base, tls, f"{base}/chain"):
            self.fetch(address)
            self.fetch(address, parallel=True)
        self.load(base, may_be_ended=True)
        (self.folder / "got" / "20000000").unlink()
        slow = self.start_curl(base, ["20000000"], "--limit-rate", "10M")
        # A child that is told to end before a worker has taken up the connection does not count it, and leaves it alone.
        lib.wait_until(lambda: (self.folder / "got" / "20000000").exists(), 20, "the first bytes")
        for _ in range(3):
            self.apache.kill(signal.SIGUSR1)  # graceful: old children end their connections
            for _ in range(3):
                self.fetch(base, ["1", "65537"])
        slow.finish(90)
        self.check(["20000000"])
        self.apache.kill(signal.SIGTERM)
        self.apache.wait(60)
        errors = (self.folder / "error.log").read_text()
        self.assertNotRegex(errors, r"exit signal|:(alert|emerg|crit)\]|seg fault")
        self.prove(self.apache, 5, self.total, inner=True)

    def client(self, *args, **options):
        return super().client(*args, wrap=[*self.as_user, *lib.WRAP_C], **options)

    def test_prefork(self):
        self.serve("prefork", "Off")

    def test_event(self):
        self.serve("event", "On")


if __name__ == "__main__":
    lib.main()
