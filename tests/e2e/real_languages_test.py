"""Node.js (net, tls, http, cluster), Java (blocking and NIO) and mosquitto."""

import signal

import lib
from real import RealCase

# An echo server and its clients; argv: server|client PORT [KEY CERT]. Clients compare every byte.
NODE = """
const net = require('net'), tls = require('tls'), fs = require('fs'), crypto = require('crypto');
const [side, port, key, cert] = process.argv.slice(1);
const options = key ? {key: fs.readFileSync(key), cert: fs.readFileSync(cert)} : {};
if (side == 'server') {
    const serve = socket => { socket.on('error', () => {}); socket.pipe(socket); };
    const server = key ? tls.createServer(options, serve)
                       : net.createServer({allowHalfOpen: true}, serve);
    server.listen(+port, '127.0.0.1', () => console.log('ready'));
    process.on('SIGTERM', () => process.exit(0));
} else {
    let left = 20;
    for (let number = 0; number < 20; ++number) {
        const data = crypto.randomBytes(1 + crypto.randomInt(1000000));
        const parts = [];
        let size = 0;
        const socket = key ? tls.connect({port: +port, host: '127.0.0.1', servername: 'localhost',
                                          ca: options.cert})
                           : net.connect({port: +port, host: '127.0.0.1'});
        socket.on(key ? 'secureConnect' : 'connect', () => socket.write(data));
        socket.on('data', part => {
            parts.push(part);
            size += part.length;
            if (size >= data.length) socket.end();
        });
        socket.on('close', () => {
            if (!Buffer.concat(parts).equals(data)) { console.log('differs'); process.exit(1); }
            if (--left == 0) console.log('ok');
        });
    }
}
"""
# Workers that get their connections over the listener of the parent; keep-alive clients.
NODE_HTTP = """
const http = require('http'), cluster = require('cluster'), crypto = require('crypto');
const [side, port, policy] = process.argv.slice(1);
const digest = data => crypto.createHash('sha256').update(data).digest('hex');
if (side == 'server') {
    cluster.schedulingPolicy = policy == 'shared' ? cluster.SCHED_NONE : cluster.SCHED_RR;
    if (cluster.isPrimary) {
        let ready = 0;
        for (let number = 0; number < 2; ++number)
            cluster.fork().on('listening', () => { if (++ready == 2) console.log('ready'); });
        process.on('SIGTERM', () => { cluster.disconnect(() => process.exit(0)); });
    } else {
        http.createServer((request, response) => {
            const parts = [];
            request.on('data', part => parts.push(part));
            request.on('end', () => {
                const body = Buffer.concat(parts);
                response.setHeader('digest', digest(body));
                response.end(body);
            });
        }).listen(+port, '127.0.0.1');
    }
} else {
    const agent = new http.Agent({keepAlive: true, maxSockets: 8});
    let left = 200;
    for (let number = 0; number < 200; ++number) {
        const data = crypto.randomBytes(crypto.randomInt(100000));
        const request = http.request({port: +port, host: '127.0.0.1', method: 'POST', agent},
                                     response => {
            const parts = [];
            response.on('data', part => parts.push(part));
            response.on('end', () => {
                const body = Buffer.concat(parts);
                if (!body.equals(data) || response.headers.digest != digest(data)) {
                    console.log('differs');
                    process.exit(1);
                }
                if (--left == 0) { console.log('ok'); agent.destroy(); }
            });
        });
        request.on('error', error => { console.log(error); process.exit(1); });
        request.end(data);
    }
}
"""

JAVA = """
import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.util.*;

public class Echo {
    static void blocking(Socket socket) {
        try (socket) {
            byte[] buffer = new byte[65536];
            InputStream in = socket.getInputStream();
            OutputStream out = socket.getOutputStream();
            for (int n; (n = in.read(buffer)) > 0;) out.write(buffer, 0, n);
        } catch (IOException error) { System.out.println(error); }
    }

    static void nio(ServerSocketChannel listener) throws IOException {
        Selector selector = Selector.open();
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        for (;;) {
            selector.select();
            for (Iterator<SelectionKey> it = selector.selectedKeys().iterator(); it.hasNext();) {
                SelectionKey key = it.next();
                it.remove();
                if (key.isAcceptable()) {
                    SocketChannel channel = listener.accept();
                    channel.configureBlocking(false);
                    channel.register(selector, SelectionKey.OP_READ, ByteBuffer.allocate(65536));
                    continue;
                }
                SocketChannel channel = (SocketChannel) key.channel();
                ByteBuffer buffer = (ByteBuffer) key.attachment();
                if (key.isReadable() && channel.read(buffer) < 0) { channel.close(); continue; }
                buffer.flip();
                channel.write(buffer);
                boolean rest = buffer.hasRemaining();
                buffer.compact();
                key.interestOps((buffer.hasRemaining() ? SelectionKey.OP_READ : 0)
                                | (rest ? SelectionKey.OP_WRITE : 0));
            }
        }
    }

    static void talk(int port, int seed, boolean channel) throws Exception {
        Random random = new Random(seed);
        byte[] data = new byte[1 + random.nextInt(500000)];
        random.nextBytes(data);
        Socket socket = channel ? SocketChannel.open(new InetSocketAddress("127.0.0.1", port)).socket()
                                : new Socket("127.0.0.1", port);
        try (socket) {
            socket.setSoTimeout(30000);
            Thread sender = new Thread(() -> {
                try { socket.getOutputStream().write(data); socket.shutdownOutput(); }
                catch (IOException error) { System.out.println(error); }
            });
            if (channel) { // a channel takes one blocking operation each way
                SocketChannel c = socket.getChannel();
                sender = new Thread(() -> {
                    try { ByteBuffer b = ByteBuffer.wrap(data);
                          while (b.hasRemaining()) c.write(b);
                          c.shutdownOutput(); }
                    catch (IOException error) { System.out.println(error); }
                });
                sender.start();
                ByteBuffer got = ByteBuffer.allocate(data.length + 1);
                while (c.read(got) > 0) { }
                sender.join();
                if (!Arrays.equals(Arrays.copyOf(got.array(), got.position()), data))
                    throw new Exception("differs");
                return;
            }
            sender.start();
            byte[] got = socket.getInputStream().readAllBytes();
            sender.join();
            if (!Arrays.equals(got, data)) throw new Exception("differs");
        }
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        if (args[0].equals("client")) {
            for (int number = 0; number < 20; ++number) talk(port, number, number % 2 == 0);
            // close() wakes a thread that waits
            Socket silent = new Socket("127.0.0.1", port);
            Thread waiting = new Thread(() -> {
                try { silent.getInputStream().read(); System.out.println("read"); }
                catch (IOException error) { System.out.println("woken"); }
            });
            waiting.start();
            while (waiting.getState() != Thread.State.RUNNABLE) Thread.sleep(1);
            Thread.sleep(100);
            silent.close();
            waiting.join();
            System.out.println("ok");
            return;
        }
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("127.0.0.1", port));
        System.out.println("ready");
        if (args[0].equals("nio")) nio(listener);
        for (;;) {
            Socket socket = listener.accept().socket();
            new Thread(() -> blocking(socket)).start();
        }
    }
}
"""


class Node(RealCase):
    programs = ("node",)

    def exchange(self, script, *args, connections, payload_bytes):
        port = lib.free_port()
        server = self.server("node", "-e", script, "--", "server", port, *args)
        server.expect("^ready", 30)
        client = self.client("node", "-e", script, "--", "client", port, *args)
        self.assertIn("ok", client.finish(60))
        server.kill(signal.SIGTERM)
        server.wait()
        self.prove(client, connections, payload_bytes)
        return server

    def test_net(self):
        self.exchange(NODE, connections=20, payload_bytes=2_000_000)

    def test_tls(self):
        files = self.certificate()
        self.exchange(NODE, files["key"], files["crt"], connections=20, payload_bytes=2_000_000)

    def test_http_cluster(self):
        """The parent passes the listener, or each connection, to a worker: plain TCP."""
        for policy in ("shared", "passed"):
            self.exchange(NODE_HTTP, policy, connections=0, payload_bytes=0)


class Java(RealCase):
    programs = ("java", "javac")

    def test_echo(self):
        (self.folder / "Echo.java").write_text(JAVA)
        self.start(["javac", "-d", self.folder, self.folder / "Echo.java"]).finish(120)
        for kind in ("blocking", "nio"):
            port = lib.free_port()
            server = self.server("java", "-cp", self.folder, "Echo", kind, port)
            server.expect("^ready", 60)
            client = self.client("java", "-cp", self.folder, "Echo", "client", port)
            text = client.finish(120)
            self.assertIn("woken\nok", text)
            server.kill(signal.SIGTERM)
            server.wait()
            self.prove(client, 21, 2_000_000)


class Mosquitto(RealCase):
    programs = ("mosquitto", "mosquitto_pub", "mosquitto_sub")

    def test_messages(self):
        port = lib.free_port()
        # A broker drops what a slow subscriber cannot take in time, unless it may queue without a limit.
        (self.folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n"
                                          "persistence false\nuser root\nlog_dest stderr\n"
                                          "log_type subscribe\nmax_queued_messages 0\n")
        broker = self.listening_server(self.tool("mosquitto"), "-c", self.folder / "conf",
                                       port=port)
        where = ["-h", "127.0.0.1", "-p", port, "-q", 2]
        lines = "".join(f"{number} {self.choose.randbytes(50).hex()}\n" for number in range(2000))
        (self.folder / "lines").write_text(lines)
        (self.folder / "large").write_bytes(self.choose.randbytes(3_000_000).hex().encode())
        many = self.client("mosquitto_sub", *where, "-t", "lines/#", "-C", 2000)
        large = self.client("mosquitto_sub", *where, "-t", "large", "-C", 1, "-N")
        version = self.client("mosquitto_sub", *where, "-t", "$SYS/broker/version", "-C", 1)
        self.assertIn("mosquitto", version.finish())
        lib.wait_until(lambda: {"lines/#", "large"} <= set(broker.stderr().split()), 20, "subscribers")
        with open(self.folder / "lines", "rb") as file:
            self.client("mosquitto_pub", *where, "-t", "lines/x", "-l", stdin=file).finish(60)
        self.client("mosquitto_pub", *where, "-t", "large", "-f", self.folder / "large").finish(60)
        self.assertEqual(many.finish(60), lines)
        self.assertEqual(large.finish(60).encode(), (self.folder / "large").read_bytes())
        self.prove(many, 1, len(lines))
        broker.kill(signal.SIGTERM)
        broker.finish()
        self.prove(broker, 5, 12_000_000)


if __name__ == "__main__":
    lib.main()
