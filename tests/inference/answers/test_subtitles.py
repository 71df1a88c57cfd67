"""Subtitles of intervals: cues that do not overlap, times and text as the formats want them."""

from pipeline.inference.answers.subtitles import clock, cues_of, sub_rip, web_vtt

INTERVALS = [
    {"name": "Dog & <b>cat</b>", "start": 0.0, "end": 12.5, "score": 0.934},
    {"name": "a\n\nb --> c", "start": 7.5, "end": 20.0, "score": 0.99},
    {"name": "Tür", "start": 3725.25, "end": 3730.0, "score": 0.5},
]


def test_a_cue_begins_when_a_label_comes_or_goes():
    assert [(cue.start, cue.end, len(cue.lines)) for cue in cues_of(INTERVALS)] == [
        *((0, 7.5, 1), (7.5, 12.5, 2), (12.5, 20, 1), (3725.25, 3730, 1))
    ]
    assert next(cue for cue in cues_of(INTERVALS) if len(cue.lines) == 2).lines[0] == "a b --> c 99 %"
    assert list(cues_of([])) == []


def test_web_vtt():
    assert web_vtt(INTERVALS) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:07.500\nDog &amp; &lt;b&gt;cat&lt;/b&gt; 93 %\n\n"
        "00:00:07.500 --> 00:00:12.500\na b --&gt; c 99 %\nDog &amp; &lt;b&gt;cat&lt;/b&gt; 93 %\n\n"
        "00:00:12.500 --> 00:00:20.000\na b --&gt; c 99 %\n\n"
        "01:02:05.250 --> 01:02:10.000\nTür 50 %\n"
    )
    assert web_vtt([]) == "WEBVTT\n"


def test_sub_rip():
    assert sub_rip(INTERVALS[:1] + INTERVALS[2:]) == (
        "1\n00:00:00,000 --> 00:00:12,500\nDog & ‹b›cat‹/b› 93 %\n\n2\n01:02:05,250 --> 01:02:10,000\nTür 50 %\n"
    )
    assert sub_rip([]) == ""


def test_a_player_reads_what_is_written(tmp_path):
    """FFmpeg's readers, as most players use them: every cue, its time and its text."""
    import av

    for suffix, write in ((".vtt", web_vtt), (".srt", sub_rip)):
        path = tmp_path / f"a{suffix}"
        path.write_text(write(INTERVALS), encoding="utf-8")
        with av.open(str(path)) as container:
            (stream,) = container.streams.subtitles
            packets = [packet for packet in container.demux(stream) if packet.size]
            times = [float(packet.pts * packet.time_base) for packet in packets]
        assert times == [0, 7.5, 12.5, 3725.25]
        assert "Tür 50 %" in bytes(packets[-1]).decode()


def test_times():
    assert clock(0, ".") == "00:00:00.000" and clock(3599.9996, ",") == "01:00:00,000"
    assert clock(360_000, ".") == "100:00:00.000"
