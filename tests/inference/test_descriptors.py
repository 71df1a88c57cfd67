"""Descriptors on their way from models to a file."""

import textwrap

import numpy as np
import pyarrow.parquet as pq
import pytest
from fixtures.made_runs import AVERAGE, FIVE, NETVLAD, drawn_model
from fixtures.support import ROOT, SMALL

from pipeline.config.errors import StageError
from pipeline.inference import descriptors
from pipeline.inference.descriptors import Describing, descriptor_file
from pipeline.inference.ensemble import Ensemble


def test_batches_in_pieces_are_taken_whole():
    """Pieces of 2 of batches of 3, as where memory ran out: the last piece repeats a video."""
    model = drawn_model(NETVLAD, SMALL, 0)
    describing = Describing(Ensemble.of_model(model, FIVE, SMALL, 9))
    frames = np.random.default_rng(0).integers(0, 256, (6, 5, 8), dtype=np.uint8)
    (member,) = describing.ensemble.members
    whole = describing._models[0]._both.predict_on_batch({"frames": frames, "num_frames": np.full(6, 5, np.int32)})
    for rows in ([0, 1], [2, 2], [3, 4], [5, 5]):
        probabilities = member.models[0].predict_on_batch(
            {"frames": frames[rows], "num_frames": np.full(2, 5, np.int32)}
        )
        np.testing.assert_allclose(probabilities, whole[0][rows], rtol=1e-4, atol=1e-6)
    for rows in (slice(0, 3), slice(3, 6)):
        (found,) = describing.take(3)
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, whole[1][rows], atol=1e-3)


def test_what_float16_does_not_hold_is_refused():
    describing = Describing(Ensemble.of_model(drawn_model(AVERAGE, SMALL, 0), FIVE, SMALL, 9))
    for value in (7e4, np.nan, np.inf):
        describing._models[0]._found = [np.full((1, 8), value, np.float32)]
        with pytest.raises(StageError, match="float16 holds up to 65,504"):
            describing.take(1)


def test_many_rows_are_written_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(descriptors, "_BUFFERED", 40)
    rows = np.random.default_rng(0).normal(size=(17, 6)).astype(np.float16)
    with descriptor_file(tmp_path / "d.parquet", "the digest") as file:
        for number, row in enumerate(rows):
            file.add(f"v{number}", {"a": row[:2], "b": row[2:]})
        file.write()
    read = pq.ParquetFile(tmp_path / "d.parquet")
    assert read.num_row_groups == 3 and read.schema_arrow.metadata[b"model"] == b"the digest"
    table = read.read()
    assert table["id"].to_pylist() == [f"v{number}" for number in range(17)]
    np.testing.assert_array_equal(np.array(table["b"].to_pylist()), rows[:, 2:])
    assert [path.name for path in tmp_path.iterdir()] == ["d.parquet"]


def test_the_neighbors_of_the_page_are_near(tmp_path, monkeypatch):
    """The five lines, on descriptors of which each is a small turn of the one before."""
    text = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
    code = textwrap.dedent(text[text.index("    table = pq") : text.index("(`np` is NumPy")])
    assert len(code.strip().splitlines()) == 5
    with descriptor_file(tmp_path / "descriptors.parquet", "") as file:
        for turn in np.random.default_rng(0).permutation(20):
            file.add(f"{turn}", {"run": np.array([np.cos(turn / 20), np.sin(turn / 20)], np.float16) * (1 + turn)})
        file.write()
    monkeypatch.chdir(tmp_path)
    found: dict = {"np": np, "pq": pq}
    exec(code, found)
    first, *near = (int(id) for id in found["table"]["id"].take([0, *found["nearest"]]).to_pylist())
    assert len(near) == 10 and near == sorted(near, key=lambda turn: abs(turn - first))
