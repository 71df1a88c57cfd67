"""A real HTTP server in a process of its own, whose faults are drawn from a seed: what it does to the n-th request for
a path depends on the seed, the path and n alone.

    python tests/fault_server.py '{"root": "DIR", "seed": 3, "faults": ["reset", "busy"], "share": 0.5, "times": 3}'
"""

import contextlib
import email.utils
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULTS = (
    "reset",  # part of the body, then a reset of the connection
    "truncate",  # part of the body, then the end
    "short",  # part of the body, and a Content-Length that fits it
    "unavailable",  # 503
    "busy",  # 429 with Retry-After
    "busy-date",  # the same, as a date
    "error",  # 500
    "wrong",  # a flipped bit
    "stall",  # part of the body, then nothing
    "silent",  # no answer at all
    "no-range",  # the whole file, whatever was asked for
    "other-range",  # another part of the file than was asked for
    "page",  # 200 and a page of HTML
    "hang-up",  # the end before an answer
    "gone",  # 404
)


@dataclass
class Script:
    """What a server does."""

    root: str
    seed: int = 0
    faults: list[str] = field(default_factory=list)
    share: float = 1.0
    """Of the requests for a file that meet a fault."""
    times: int = 1_000_000_000
    """Faults of a path, after which it is served as it should be."""
    only: str = ""
    """Regular expression of the paths with faults."""
    heads: bool = False
    """HEAD requests meet faults too."""
    validators: bool = True
    """Say ETag and Last-Modified."""
    lengths: bool = True
    """Say Content-Length; without, the end of the connection ends a file."""
    delay: float = 0.0
    """Seconds between pieces of a body."""
    log: str = ""
    """File of the requests: method, path, Range, fault."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script
    counts: Counter
    lock = threading.Lock()

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *arguments):
        pass

    def _answer(self):
        path = self.path.partition("?")[0]
        fault, chance = self._fault(path)
        if self.script.log:
            line = json.dumps([self.command, path, self.headers.get("Range"), fault])
            with self.lock, Path(self.script.log).open("a", encoding="utf-8") as log:
                log.write(line + "\n")
        file = Path(self.script.root, path.lstrip("/"))
        if fault == "gone" or not file.is_file():
            self._say(404)
        elif fault == "hang-up":
            self.close_connection = True
        elif fault == "silent":
            self._wait()
        elif fault in ("unavailable", "error"):
            self._say(503 if fault == "unavailable" else 500)
        elif fault == "busy":
            self._say(429, {"Retry-After": str(chance.randint(0, 1))})
        elif fault == "busy-date":
            self._say(429, {"Retry-After": email.utils.formatdate(time.time() + 1, usegmt=True)})
        elif fault == "page":
            self._say(200, {}, b"<html>please log in</html>")
        else:
            self._serve(file, fault, chance)

    def _fault(self, path):
        """The fault of this request, or "", and what draws its details."""
        if self.command == "HEAD" and not self.script.heads:
            return "", None
        with self.lock:
            self.counts[path] += 1
            chance = random.Random(f"{self.script.seed}:{path}:{self.counts[path]}")
            meets = self.script.faults and re.search(self.script.only, path) and chance.random() < self.script.share
            if not meets or self.counts["faults", path] >= self.script.times:
                return "", chance
            self.counts["faults", path] += 1
            return chance.choice(self.script.faults), chance

    def _serve(self, file, fault, chance):
        data = file.read_bytes()
        status = file.stat()
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", tag) == tag
        start = int(asked[1]) if asked and same and fault != "no-range" else 0
        if start and start >= len(data):
            self._say(416, {"Content-Range": f"bytes */{len(data)}"})
            return
        code = 206 if asked and same and fault != "no-range" else 200
        if fault == "other-range" and code == 206:
            start = min(len(data) - 1, start + chance.randint(1, 100))
        body = data[start:]
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if code == 206 else {}
        if self.script.validators:
            headers |= {"ETag": tag, "Last-Modified": email.utils.formatdate(status.st_mtime, usegmt=True)}
        upto = chance.randrange(len(body) + 1) if chance and fault in ("reset", "truncate", "short", "stall") else None
        if fault == "wrong":
            flipped = bytearray(body)
            flipped[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            body = bytes(flipped)
        if fault == "short":
            body = body[:upto]
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.script.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault not in ("reset", "truncate", "stall"):
            self._send(body)
            return
        self._send(body[:upto])
        if fault == "stall":
            self._wait()
        elif fault == "reset":
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def _send(self, body):
        view = memoryview(body)
        while view:
            piece = view[: 1 << 14] if self.script.delay else view
            self.wfile.write(piece)
            view = view[len(piece) :]
            time.sleep(self.script.delay)

    def _say(self, code, headers=(), body=b""):
        self.send_response(code)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _wait(self):
        """Say nothing until the client has gone."""
        self.connection.settimeout(60)
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are expected


@contextlib.contextmanager
def serving(root: Path, **script) -> Iterator[str]:
    """The address of a server that serves a folder while the block lasts."""
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(asdict(Script(str(root), **script)))], stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def dead() -> Iterator[str]:
    """The address of a port where nobody listens, kept from others while the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def requests_of(log: Path) -> list[tuple[str, str, str | None, str]]:
    """Method, path, Range and fault of each request that a server has logged."""
    return [tuple(json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


if __name__ == "__main__":
    Handler.script = Script(**json.loads(sys.argv[1]))
    Handler.counts = Counter()
    server = Server(("127.0.0.1", 0), Handler)
    parent = os.getppid()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    while os.getppid() == parent:  # ends with who started it
        time.sleep(0.2)
