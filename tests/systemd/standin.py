"""What the units start in place of sealift: a supervisor with one worker, small enough to be at fault for nothing.

It speaks to systemd through the real `serve/notify.py`. `GET /` answers with both process ids, `GET /slow` does
so after half a second. The worker drains when the supervisor dies, as the real one does.
"""

from __future__ import annotations

import ctypes
import http.server
import json
import os
import signal
import socket
import threading
import time

from sealift.serve.notify import inherited_listeners, notify, watchdog_s

PR_SET_PDEATHSIG = 1


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(0.5 if self.path == "/slow" else 0.0)
        body = json.dumps({"supervisor": os.getppid(), "worker": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the journal is for what systemd says."""


def work(listener: socket.socket) -> None:
    """Answer until SIGTERM, then end what is in flight."""
    server = http.server.ThreadingHTTPServer(("", 0), Answers, bind_and_activate=False)
    server.daemon_threads = False
    server.socket = listener
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    server.serve_forever(poll_interval=0.02)
    server.server_close()


def supervise(worker: int) -> None:
    """Say that we live until SIGTERM, then end the worker."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    notify("READY=1\nSTATUS=the stand-in serves")
    while not stop.wait((watchdog_s() or 3.0) / 3):
        notify("WATCHDOG=1")
    notify("STOPPING=1")
    os.kill(worker, signal.SIGTERM)
    os.waitpid(worker, 0)


def main() -> None:
    listener = next(iter(inherited_listeners()), None)
    assert listener is not None, "the socket unit handed nothing over"
    worker = os.fork()
    if worker == 0:
        work(listener)
        os._exit(0)
    supervise(worker)


if __name__ == "__main__":
    main()
