"""What is printed and logged: nothing that a terminal obeys, no secret of an address, and the rest as it is."""

import contextlib
import io
import json
import sys
from collections.abc import Iterator

import pytest
from tqdm import tqdm

from pipeline.runtime.output import printable, printable_json, redacted, shown_output

PLAIN = "plain, é, 漢字, עברית, 👩‍👩‍👧, tab\tand line\nfeed, \\x1b, 5 % of {it} $\\frac$"
HOSTILE = "\x1b]0;title\x07\x1b[2J\r\b\x00\x7f\x9b31m\u202eevil\u2066\u2028\udcff"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\bc\x07\x00", "a\\x0db\\x08c\\x07\\x00"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u202a\u202e\u2066\u2069\u2028", "\\u202a\\u202e\\u2066\\u2069\\u2028"),
        ("\udcff\ud800", "\\udcff\\ud800"),
        (PLAIN, PLAIN),
    ],
)
def test_controls_are_escaped_and_the_rest_is_as_it_is(text, escaped):
    assert printable(text) == escaped
    escaped.encode()


def test_json_stays_json_and_gives_back_the_same():
    values = {HOSTILE: [PLAIN, HOSTILE, 1.5, None]}
    for indent in (None, 2):
        text = printable_json(values, indent)
        assert json.loads(text) == values and printable(text) == text and "漢字" in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://me:pass@host:8/a/b.x?X-Amz-Signature=SECRET&b=1: lost", "https://host:8/a/b.x?...: lost"),
        ("https://me:p%40s@s@host/a", "https://host/a"),
        (
            "Max retries exceeded with url: /b/f?sig=SECRET&x=y (Caused",
            "Max retries exceeded with url: /b/f?... (Caused",
        ),
        ("Invalid URL 'http://h/?token=SECRET': no host", "Invalid URL 'http://h/?...': no host"),
        ("(see https://h/p?key=SECRET#SECRET).", "(see https://h/p?...)."),
        ("https://h#access_token=SECRET", "https://h?..."),
        ("gs://b/o?GoogleAccessId=SECRET and gs://b/o", "gs://b/o?... and gs://b/o"),
        ("AWSAccessKeyId=SECRET&Signature=SECRET&Expires=1", "AWSAccessKeyId=...&Signature=...&Expires=1"),
        ("X-Goog-Credential=SECRET", "X-Goog-Credential=..."),
    ],
)
def test_an_address_keeps_its_host_and_path_alone(text, kept):
    assert redacted(text) == kept == redacted(kept)


@pytest.mark.parametrize(
    "text", ["which run? Choose a/b = c", "see https://h.org/x, or a@b.org", "train=/data/*.tfrecord?", "labels-key=x"]
)
def test_what_is_no_secret_stays(text):
    assert redacted(text) == text


@pytest.mark.parametrize("name", ['http://h/?a"', 'http://h?"b', "http://h?a\\", "http://u:p@h?a}],", "http://h?\x9b"])
@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_json_that_is_redacted_is_json(name, separators):
    text = json.dumps([{"id": name, "more": [name, 1]}], ensure_ascii=False, separators=separators)
    assert "more" in json.loads(redacted(text))[0]


@contextlib.contextmanager
def streams() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Standard output and error as strings."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def test_whatever_is_printed_is_shown_and_the_streams_are_given_back():
    with streams() as (out, err):
        with pytest.raises(ValueError, match="inside"), shown_output():
            print(HOSTILE, "https://h/?sig=SECRET", PLAIN)
            print("e", HOSTILE, file=sys.stderr)
            sys.stdout.writelines([HOSTILE])
            sys.stdout.flush()
            assert not sys.stdout.isatty()
            raise ValueError("inside")
        assert (sys.stdout, sys.stderr) == (out, err)
    assert out.getvalue() == f"{printable(HOSTILE)} https://h/?... {PLAIN}\n{printable(HOSTILE)}"
    assert err.getvalue() == f"e {printable(HOSTILE)}\n"


def test_bars_work_and_their_texts_are_shown():
    with streams() as (_, err), shown_output():
        for _ in (bar := tqdm(range(3), desc=HOSTILE, mininterval=0)):
            bar.set_postfix_str(HOSTILE)
            bar.write(HOSTILE, file=sys.stderr)
        with tqdm(total=2, desc="outer") as outer, tqdm(total=2, desc="inner") as inner:
            inner.update(2)
            outer.update(2)
    text = err.getvalue()
    assert "3/3" in text and "inner: 100%" in text and f"\r{printable(HOSTILE)}: " in text
    moves = text.replace("\x1b[A", "").replace("\r", "")  # to the start of the line, and up to an outer bar
    assert printable(moves) == moves
