"""Return to TCP at random positions of the stream: no byte lost, added or moved."""

import lib

CONNECTIONS = 400


class Return(lib.Case):
    watchdog_s = 100.0

    def test_random_positions(self):
        learn = {"SMCD_LEARN": "0"}  # many of the connections are short
        port = lib.free_port()
        script = str(lib.HERE / "return_peer.py")
        server = self.server(lib.PYTHON, "-B", script, "server", port, CONNECTIONS, lib.SEED, env=learn)
        server.expect("^ready")
        client = self.client(lib.PYTHON, "-B", script, "client", port, CONNECTIONS, lib.SEED,
                             env=learn)
        self.assertIn("ok", client.finish(90))
        self.assertIn("ok", server.finish(90))
        self.check_stats(server, client, CONNECTIONS * 9 // 10)
        if lib.BOTH_SHIMMED:
            reasons = server.stats()["tcp_reasons"]
            returned = reasons.get("returned_on_request", 0) + reasons.get("returned_by_peer", 0)
            print(f"\n  {returned} of {CONNECTIONS} connections returned to TCP", end=" ")
            self.assertGreater(returned, CONNECTIONS // 2, reasons)


if __name__ == "__main__":
    lib.main()
