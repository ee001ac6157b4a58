"""Python programs that the tests start under the library: asyncio, threads, TLS, memcached.

usage: real_clients.py COMMAND PORT [ARGUMENT]; each prints "ok" at its end.
"""

import asyncio
import os
import random
import socket
import socketserver
import ssl
import sys
import threading


async def echo_connection(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def asyncio_server(port, certificate=None):
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(echo_connection, "127.0.0.1", port, ssl=context)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, stop.set)
    print("ready", flush=True)
    async with server:
        await stop.wait()


async def asyncio_exchange(port, number, context):
    chooser = random.Random(number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    for size in (1, 100, 65536, chooser.randrange(1, 2_000_000)):
        data = chooser.randbytes(size)
        writer.write(data)
        answer, _ = await asyncio.gather(reader.readexactly(size), writer.drain())
        assert answer == data, f"connection {number}: other bytes"
    if not context:
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def asyncio_client(port, certificate=None):
    context = None
    if certificate:
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False
    await asyncio.gather(*(asyncio_exchange(port, number, context) for number in range(20)))


class EchoHandler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
            self.wfile.flush()


def threads_server(port):
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", port), EchoHandler)
    print("ready", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.readline()
    server.shutdown()


def threads_client(port):
    def talk(number):
        with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rwb") as file:
            for line in range(200):
                text = b"%d %d %s\n" % (number, line, b"x" * (line * 7 % 5000))
                file.write(text)
                file.flush()
                assert file.readline() == text
    talkers = [threading.Thread(target=talk, args=(number,)) for number in range(10)]
    for talker in talkers:
        talker.start()
    for talker in talkers:
        talker.join()


def memcached_client(port):
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rwb") as file:
        def command(line, data=None):
            file.write(line + b"\r\n" + (data + b"\r\n" if data is not None else b""))
            file.flush()
            return file.readline()
        chooser = random.Random(port)
        values = {b"key%d" % number: chooser.randbytes(chooser.choice((0, 1, 1000, 100_000)))
                  for number in range(200)}
        for key, value in values.items():
            assert command(b"set %s 7 0 %d" % (key, len(value)), value) == b"STORED\r\n"
        for key, value in values.items():
            assert command(b"get " + key) == b"VALUE %s 7 %d\r\n" % (key, len(value))
            assert file.read(len(value) + 2) == value + b"\r\n"
            assert file.readline() == b"END\r\n"
        assert command(b"add key0 0 0 1", b"x") == b"NOT_STORED\r\n"
        mine = b"n%d" % os.getpid()  # the other clients run at the same time
        assert command(b"set %s 0 0 2" % mine, b"41") == b"STORED\r\n"
        assert command(b"incr %s 1" % mine) == b"42\r\n"
        assert command(b"delete " + mine) == b"DELETED\r\n"
        assert command(b"get " + mine) == b"END\r\n"
        assert command(b"nonsense") == b"ERROR\r\n"


def subprocess_server(port):
    """Each connection is given to a program that knows only standard input and output."""
    import subprocess
    listener = socket.create_server(("127.0.0.1", port))
    print("ready", flush=True)
    for _ in range(4):
        sock, _ = listener.accept()
        with sock:
            first = sock.recv(5, socket.MSG_WAITALL)
            sock.sendall(first)
            subprocess.run(["/bin/cat"], stdin=sock, stdout=sock, check=True)


def subprocess_client(port):
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"first")
            assert sock.recv(5, socket.MSG_WAITALL) == b"first"
            data = os.urandom(300_000)
            sender = threading.Thread(target=lambda: (sock.sendall(data),
                                                      sock.shutdown(socket.SHUT_WR)))
            sender.start()
            got = b""
            while part := sock.recv(65536):
                got += part
            sender.join()
            assert got == data, f"{len(got)} bytes"


def main():
    command, port = sys.argv[1], int(sys.argv[2])
    function = {"asyncio-server": asyncio_server, "asyncio-client": asyncio_client,
                "threads-server": threads_server, "threads-client": threads_client,
                "subprocess-server": subprocess_server, "subprocess-client": subprocess_client,
                "memcached-client": memcached_client}[command]
    result = function(port, *sys.argv[3:])
    if asyncio.iscoroutine(result):
        asyncio.run(result)
    print("ok", flush=True)


if __name__ == "__main__":
    main()
