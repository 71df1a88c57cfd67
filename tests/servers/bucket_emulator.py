"""Google Cloud Storage for the tests: the emulator in a process of its own, and a network that fails in front of it."""

import contextlib
import http.client
import http.server
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """Its address; it keeps everything in memory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gcp_storage_emulator",
        "start",
        "-H",
        "127.0.0.1",
        "--port",
        str(port),
        "-q",
        "-M",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, "the emulator did not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, "the emulator does not listen"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@dataclass
class Fault:
    """What happens to one request of a kind: READ, LIST, LOOK, or WRITE."""

    kind: str
    status: int | None = None
    """Answered in the place of the emulator."""
    after: str | None = None
    """Retry-After."""
    range: str | None = None
    """Range of that answer."""
    cut: int | None = None
    """Bytes of the answer's body after which the connection ends."""
    reset: bool = False
    """It ends with a reset, not in order."""
    stall: float | None = None
    """Seconds in which nothing comes, from the cut on."""
    flip: int | None = None
    """Offset of a bit that is turned over: in the answer, or of a WRITE in the request."""
    lost: bool = False
    """The request gets through, its answer does not."""
    whole: bool = False
    """Range is ignored."""
    replace: tuple[str, str] | None = None
    """Text of the answer: names that the emulator cannot hold."""


@dataclass
class Network:
    """Passes requests to the emulator, each fault once; a WRITE with ifGenerationMatch=0 gets 412 where an object is.

    The emulator ignores that condition, which the service guarantees.
    """

    target: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], int]] = field(default_factory=list)
    """Kind, path, headers and bytes of every request."""

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"network": self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def count(self, kind: str) -> int:
        return sum(seen == kind for seen, *_ in self.seen)


def kind_of(method: str, path: str) -> str:
    if method != "GET":
        return "WRITE"
    if "alt=media" in path:
        return "READ"
    return "LIST" if path.partition("?")[0].endswith("/o") else "LOOK"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    network: Network

    def _pass(self) -> None:
        network, kind = self.network, kind_of(self.command, self.path)
        body = self._body()
        network.seen.append((kind, self.path, {name.lower(): value for name, value in self.headers.items()}, len(body)))
        fault = next((fault for fault in network.faults if fault.kind == kind), Fault(kind))
        if fault in network.faults:
            network.faults.remove(fault)
        if fault.status:
            headers = {"Retry-After": fault.after, "Range": fault.range}
            return self._answer(fault.status, {name: value for name, value in headers.items() if value}, b"no")
        if kind == "WRITE" and fault.flip is not None:
            body = flipped(body, fault.flip)
        if (
            kind == "WRITE"
            and "ifGenerationMatch=0" in self.path
            and "upload_id=" not in self.path
            and self._exists(body)
        ):
            return self._answer(412, {}, b"{}")
        status, headers, content = self._forward(body, fault.whole)
        if fault.lost:
            return self._end(reset=True)
        if kind != "WRITE" and fault.flip is not None:
            content = flipped(content, fault.flip)
        if fault.replace:
            content = content.replace(*map(str.encode, fault.replace))
        if fault.cut is None:
            return self._answer(status, headers, content)
        self._answer(status, headers, content[: fault.cut], len(content))
        if fault.stall:
            time.sleep(fault.stall)
        return self._end(fault.reset)

    do_GET = do_POST = do_PUT = do_DELETE = _pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes, whole: bool) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        if whole:
            headers.pop("range", headers.pop("Range", None))
        if body:
            headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.network.target).netloc, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body or None, headers)  # with the Host that the client named
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def _exists(self, body: bytes) -> bool:
        bucket = self.path.split("/b/")[1].split("/")[0]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if "name" in query:
            name = query["name"][0]
        else:  # JSON, or JSON as the first of several parts
            name = json.loads(next(line for line in body.splitlines() if line.startswith(b"{")))["name"]
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.network.target).netloc, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}")
            return connection.getresponse().status == 200

    def _answer(self, status: int, headers: dict[str, str], content: bytes, length: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)
            self.wfile.flush()

    def _end(self, reset: bool) -> None:
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *arguments: object) -> None:
        pass


def flipped(content: bytes, offset: int) -> bytes:
    if offset >= len(content):
        return content
    return content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]
