import base64
import hashlib
import http.server
import os
import threading
import time
import typing

import google_crc32c
import pytest
from servers.fault_server import dead, requests_of, serving

from pipeline.transfer.http import Mirrors
from pipeline.transfer.source import Refused, Remote, Unavailable

DATA = os.urandom(200_000)
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "file").write_bytes(DATA)
    return folder


def mirrors(*urls, timeout=0.5) -> Mirrors:
    return Mirrors(lambda file: [f"{url}/{file.name}" for url in urls], timeout)


def read(source, file, offset=0):
    with source.open(file, offset) as body:
        return body.start, body.size, b"".join(body.chunks)


def test_whole_and_from_an_offset(root):
    with serving(root) as url:
        source = mirrors(url)
        assert read(source, Remote("file", md5=MD5)) == (0, len(DATA), DATA)
        assert read(source, Remote("file", md5=MD5), 150_000) == (150_000, len(DATA), DATA[150_000:])
        assert source.measure(Remote("file", md5=MD5)) == Remote("file", len(DATA), md5=MD5)
        with pytest.raises(Refused, match="404"):
            source.measure(Remote("missing"))


def test_a_server_without_ranges_begins_at_0(root):
    with serving(root, faults=["no-range"]) as url:
        assert read(mirrors(url), Remote("file", md5=MD5), 100) == (0, len(DATA), DATA)


def test_a_file_shorter_than_the_offset_begins_at_0(root):
    with serving(root) as url:
        assert read(mirrors(url), Remote("file", md5=MD5), len(DATA)) == (0, len(DATA), DATA)
        assert read(mirrors(url), Remote("file", md5=MD5), len(DATA) + 9) == (0, len(DATA), DATA)


def test_without_a_checksum_only_the_same_version_goes_on(root):
    file = Remote("file")
    with serving(root) as url:
        source = mirrors(url)
        assert read(source, file, 1000)[0] == 0  # which version the first bytes are of is unknown
        assert read(source, file, 1000) == (1000, len(DATA), DATA[1000:])
        (root / "file").write_bytes(DATA[::-1])
        os.utime(root / "file", (1, 1))
        assert read(source, file, 1000) == (0, len(DATA), DATA[::-1])
        assert read(source, file, 1000) == (1000, len(DATA), DATA[::-1][1000:])
    with serving(root, validators=False) as url:
        source = mirrors(url)
        assert [read(source, file, 1000)[0] for _ in range(3)] == [0, 0, 0]
        assert read(source, Remote("file", md5=MD5), 1000)[0] == 1000


@pytest.mark.parametrize("fault", ["unavailable", "error", "busy", "hang-up", "silent", "reset", "truncate", "stall"])
def test_what_may_work_another_time_is_unavailable(root, fault):
    with serving(root, faults=[fault], seed=1) as url:
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            read(mirrors(url), Remote("file", md5=MD5))
        assert url in str(caught.value)
        assert time.monotonic() - began < 5


def test_another_range_than_was_asked_for_is_not_taken(root):
    with (
        serving(root, faults=["other-range"]) as url,
        pytest.raises(Unavailable, match="asked for the bytes from 100 on"),
    ):
        read(mirrors(url), Remote("file", md5=MD5), 100)


def test_another_size_than_is_known_is_not_taken(root):
    with serving(root) as url:
        for offset in (0, 1000):
            with pytest.raises(Unavailable, match="should have"):
                read(mirrors(url), Remote("file", 190_000, MD5), offset)


def test_without_a_length_the_size_is_unknown(root):
    with serving(root, lengths=False) as url:
        assert read(mirrors(url), Remote("file", md5=MD5)) == (0, None, DATA)


@pytest.mark.parametrize("fault", ["busy", "busy-date"])
def test_who_asks_to_wait_is_not_asked_before(root, tmp_path, fault):
    log = tmp_path / "log"
    with serving(root, faults=[fault], times=1, seed=2, log=str(log)) as url:
        source, file = mirrors(url), Remote("file", md5=MD5)
        with pytest.raises(Unavailable) as caught:
            read(source, file)
        assert 0 <= caught.value.after <= 1.01
        time.sleep(0.9 * caught.value.after)
        if caught.value.after > 0.5:
            with pytest.raises(Unavailable, match="asks to wait"):
                read(source, Remote("other", md5=MD5))
            assert len(requests_of(log)) == 1
        time.sleep(0.1 * caught.value.after + 0.05)
        assert read(source, file)[2] == DATA


def test_the_next_mirror_is_asked_at_once_and_then_first(root, tmp_path):
    log = tmp_path / "log"
    with dead() as first, serving(root, log=str(log)) as second:
        source = mirrors(first, second)
        with pytest.raises(Unavailable) as caught:
            read(source, Remote("file", md5=MD5))
        assert caught.value.after == 0
        assert read(source, Remote("file", md5=MD5))[2] == DATA
        # The next file does not suffer for what is known of the first mirror.
        assert read(source, Remote("file", 200_000))[2] == DATA


def test_a_mirror_that_lacks_a_file_is_passed_over(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with serving(tmp_path / "empty") as first, serving(root) as second:
        source = mirrors(first, second)
        with pytest.raises(Unavailable, match="404") as caught:
            read(source, Remote("file", md5=MD5))
        assert caught.value.after == 0
        assert read(source, Remote("file", md5=MD5))[2] == DATA
        with pytest.raises(Unavailable, match="404"):
            read(source, Remote("missing"))
        for _ in range(2):
            with pytest.raises(Refused, match="404"):
                read(source, Remote("missing"))


def test_a_mirror_with_wrong_bytes_is_passed_over(root):
    with serving(root, faults=["wrong"]) as first, serving(root) as second:
        source, file = mirrors(first, second), Remote("file", md5=MD5)
        with pytest.raises(Unavailable, match="wrong"), source.open(file) as body:
            assert b"".join(body.chunks) != DATA
            raise Unavailable("wrong bytes")
        assert read(source, file)[2] == DATA


@pytest.mark.parametrize("url", ["http://", "http://[", "nonsense", "ftp://127.0.0.1/file", "http://127.0.0.1:99999"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises((Refused, Unavailable)):
        read(mirrors(url), Remote("file", md5=MD5))


class Google(http.server.BaseHTTPRequestHandler):
    headers_of: typing.ClassVar = {}

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        for name, value in type(self).headers_of.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(DATA)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def google():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Google)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    Google.headers_of = {}


def test_checksums_of_googles_header_are_taken(google):
    crc = google_crc32c.value(DATA)
    encoded = [base64.b64encode(raw).decode() for raw in (crc.to_bytes(4), hashlib.md5(DATA).digest())]
    Google.headers_of = {"x-goog-hash": f"crc32c={encoded[0]},md5={encoded[1]}"}
    assert mirrors(google).measure(Remote("file")) == Remote("file", len(DATA), MD5, crc)
    assert mirrors(google).measure(Remote("file", md5=MD5)) == Remote("file", len(DATA), MD5)
    Google.headers_of = {"x-goog-hash": "crc32c=????,md5=AAAA,other"}
    assert mirrors(google).measure(Remote("file")) == Remote("file", len(DATA))


def test_compressed_bodies_are_refused(google):
    Google.headers_of = {"Content-Encoding": "gzip"}
    with pytest.raises(Refused, match="gzip"):
        read(mirrors(google), Remote("file"))


def test_a_trickle_counts_as_a_stall(root, monkeypatch):
    class Trickle(Google):
        def do_GET(self):
            self.do_HEAD()
            for n in range(len(DATA)):
                self.wfile.write(DATA[n : n + 1])
                time.sleep(0.05)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    server.handle_error = lambda *arguments: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(Unavailable, match="hardly"):
            read(mirrors(f"http://127.0.0.1:{server.server_port}"), Remote("file", md5=MD5))
    finally:
        server.shutdown()
        server.server_close()
