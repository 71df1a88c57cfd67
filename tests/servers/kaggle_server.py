"""What Kaggle's package asks of the site when a file is submitted, answered by a server in a process of its own.

The package knows one address for tests, localhost:7777. $HTTP_PROXY leads it to any other port: the server takes what
it gets for the request of a proxy's client.

    python tests/kaggle_server.py FOLDER '{"token": "SECRET"}'
"""

import base64
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REFRESH = "refresh-5c1e"
"""The log-in that makes the token."""


@dataclass
class Script:
    """What the site is like."""

    token: str = "KGAT_" + "5ecret" * 5
    username: str = "somebody"
    key: str = "0123456789abcdef" * 2
    page: int = 100
    """Submissions in one answer at most."""


@dataclass
class Fault:
    """What happens to one request."""

    kind: str
    """Start, Put, Create, List or Token."""
    status: int | None = None
    """Answered instead."""
    message: str | None = None
    """The reason, in the body."""
    after: str | None = None
    """Retry-After."""
    lost: bool = False
    """It gets through, its answer does not."""
    reset: bool = False
    """It does not get through: of a Put only half of the bytes."""
    page: bool = False
    """200 and a page of HTML."""
    silent: bool = False
    """No answer."""


@dataclass
class Site:
    """The tests' side of the server."""

    address: str
    folder: Path
    script: Script

    def environment(self, home: Path) -> dict[str, str]:
        """What leads the package there, away from anything of the user's."""
        home.mkdir(exist_ok=True)
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), self.address)
        nothing = dict.fromkeys(("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "KAGGLE_CONFIG_DIR"), "")
        return {**proxies, **nothing, "HOME": str(home), "XDG_CONFIG_HOME": "", "KAGGLE_API_ENVIRONMENT": "TEST"}

    def fail(self, *faults: Fault) -> None:
        """Meet the next requests with these, each once."""
        _write(self.folder / "faults.json", [asdict(fault) for fault in faults])

    def left(self) -> int:
        """Faults that nothing has met yet."""
        return len(_read(self.folder / "faults.json", []))

    def settle(self, competition: str, pending: int = 0, **outcome: object) -> None:
        """The submissions of a competition get this outcome once they were listed so often."""
        _write(self.folder / "outcomes.json", {competition: {"pending": pending, **outcome}})

    def seen(self, kind: str | None = None) -> list[dict]:
        """The requests: kind, address, Content-Range, and whether the credentials were good."""
        path = self.folder / "seen.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if kind in (None, line["kind"])]

    def forget(self) -> None:
        """What was seen, and what was to come."""
        for name in ("seen.jsonl", "faults.json", "outcomes.json"):
            (self.folder / name).unlink(missing_ok=True)

    def submissions(self, competition: str) -> list[dict]:
        """What the site has, the latest last: name, message, and the bytes."""
        path = self.folder / f"{competition}.json"
        return [{**one, "bytes": (self.folder / one["token"]).read_bytes()} for one in _read(path, [])]


@contextlib.contextmanager
def kaggle_site(folder: Path, **script: object) -> Iterator[Site]:
    """The site while the block lasts; it keeps everything in the folder."""
    whole = Script(**script)
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), json.dumps(asdict(whole))], stdout=subprocess.PIPE, text=True
    )
    try:
        yield Site(f"http://127.0.0.1:{int(process.stdout.readline())}", folder, whole)
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------------------------------------------------- the server


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script
    folder: Path
    lock = threading.Lock()

    def do_POST(self):
        kind = {
            "StartSubmissionUpload": "Start",
            "CreateSubmission": "Create",
            "ListSubmissions": "List",
            "GenerateAccessToken": "Token",
        }.get(self.path.rpartition("/")[2], self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._meet(kind, lambda: self._call(kind, body))

    def do_PUT(self):
        self._meet("Put", None)

    def do_CONNECT(self):
        self._meet("Connect", lambda: self._say(502, {}))

    def log_message(self, *arguments):
        pass

    def _meet(self, kind, serve):
        with self.lock:
            faults = _read(self.folder / "faults.json", [])
            fault = Fault(**next((fault for fault in faults if fault["kind"] == kind), {"kind": kind}))
            if asdict(fault) in faults:
                faults.remove(asdict(fault))
                _write(self.folder / "faults.json", faults)
            asked = self.headers.get("Content-Range", "")
            line = {"kind": kind, "address": self.path, "range": asked, "authorised": self._authorised()}
            with (self.folder / "seen.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        if fault.silent:
            self.connection.settimeout(60)
            with contextlib.suppress(OSError):
                self.connection.recv(1 << 16)
            self.close_connection = True
        elif fault.status and kind != "Put":
            body = {"code": fault.status, "message": fault.message} if fault.message else {}
            self._say(fault.status, body, {"Retry-After": fault.after} if fault.after else {})
        elif fault.page:
            self._say(200, "<html>please log in</html>")
        elif kind == "Put":
            self._put(fault)
        elif fault.reset:
            self._reset()
        elif kind not in ("Token", "Connect") and not line["authorised"]:
            self._say(401, {"code": 401, "message": "Unauthenticated"})
        elif fault.lost:
            self._say = lambda *answer: None
            serve()
            self._reset()
        else:
            serve()

    def _authorised(self):
        script, given = self.script, self.headers.get("Authorization", "")
        login = base64.b64encode(f"{script.username}:{script.key}".encode()).decode()
        return given in (f"Bearer {script.token}", f"Basic {login}")

    def _call(self, kind, body):
        if kind == "Token":
            good = body.get("refreshToken") == REFRESH
            self._say(200 if good else 401, {"token": self.script.token, "expiresIn": 3600} if good else {})
            return
        if kind == "Start":
            token = f"blob-{time.time_ns()}"
            _write(self.folder / f"{token}.about", body)
            self._say(200, {"token": token, "createUrl": f"http://localhost:7777/upload/{token}"})
            return
        path = self.folder / f"{body['competitionName']}.json"
        with self.lock:
            there = _read(path, [])
            if kind == "Create":
                token = body["blobFileTokens"]
                about, size = _read(self.folder / f"{token}.about", {}), (self.folder / token).stat().st_size
                assert size == about["contentLength"] and about["competitionName"] == body["competitionName"]
                ref = 1000 + len(there)
                there.append(
                    {
                        "ref": ref,
                        "token": token,
                        "file": about["fileName"],
                        "message": body.get("submissionDescription"),
                        "listed": 0,
                    }
                )
                _write(path, there)
                self._say(200, {"message": "Successfully submitted to the competition", "ref": ref})
            elif kind == "List":
                self._list(path, there, body)
            else:
                self._say(404, {"code": 404, "message": f"no call {kind}"})

    def _list(self, path, there, body):
        outcome = _read(self.folder / "outcomes.json", {}).get(body["competitionName"], {"pending": 1 << 30})
        size = min(self.script.page, body.get("pageSize", 20))
        first = size * (body.get("page", 1) - 1)
        shown = []
        for one in there[::-1][first : first + size]:
            one["listed"] += 1
            settled = {name: value for name, value in outcome.items() if name != "pending"}
            shown.append(
                {
                    "ref": one["ref"],
                    "fileName": one["file"],
                    "description": one["message"],
                    "totalBytes": (self.folder / one["token"]).stat().st_size,
                    "date": "2026-05-04T03:02:01.1234567Z",
                    **(settled if one["listed"] > outcome["pending"] else {"status": "PENDING"}),
                }
            )
        _write(path, there)
        self._say(200, {"submissions": shown, "nextPageToken": ""})

    def _put(self, fault):
        """A resumable upload: all bytes, those from an offset on, or the question how many there are."""
        path = self.folder / urllib.parse.urlsplit(self.path).path.rpartition("/")[2]
        length, asked = int(self.headers.get("Content-Length", 0)), self.headers.get("Content-Range", "")
        total = json.loads((path.parent / f"{path.name}.about").read_text())["contentLength"]
        held = path.read_bytes() if path.exists() else b""
        if fault.reset:
            path.write_bytes(held + self.rfile.read(length // 2))
            self._reset()
            return
        if fault.status:
            self.rfile.read(length)
            self._say(fault.status, {})
            return
        if not asked.startswith("bytes */"):
            start = int(asked.removeprefix("bytes ").partition("-")[0]) if asked else 0
            assert start <= len(held)
            held = held[:start] + self.rfile.read(length)
            path.write_bytes(held)
        if fault.lost:
            self._reset()
        elif len(held) == total:
            self._say(200, {})
        else:
            self._say(308, {}, {"Range": f"bytes=0-{len(held) - 1}"} if held else {})

    def _say(self, status, body, headers=()):
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _reset(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # connections that were reset


def _read(path: Path, default: object) -> object:
    return json.loads(path.read_text()) if path.exists() else default


def _write(path: Path, value: object) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


if __name__ == "__main__":
    Handler.folder, Handler.script = Path(sys.argv[1]), Script(**json.loads(sys.argv[2]))
    server = Server(("127.0.0.1", 0), Handler)
    parent = os.getppid()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    while os.getppid() == parent:  # ends with who started it
        time.sleep(0.2)
