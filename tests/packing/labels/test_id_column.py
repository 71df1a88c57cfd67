"""Which column of a table holds the ids of videos, whatever else is in it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.errors import StageError
from pipeline.packing.labels.id_column import find_id_column, videos_of
from pipeline.packing.tables.table import read_table


def test_the_column_that_matches_most_ids_holds_them(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("class,video,again\n1,0,0\n1,1,1\n1,2,2\n1,007,007\n")
    assert find_id_column(read_table(path), ["0", "1", "2", "7"], None) == "video"
    assert find_id_column(read_table(path), ["0", "1", "2", "7"], "again") == "again"
    assert videos_of(read_table(path), "video", ["2", "1", "7"]).tolist() == [-1, 1, 0, -1]


def test_ids_are_numbers_in_one_file_and_text_in_another(tmp_path):
    for cells in ([17, 8], [17.0, 8.0], ["17", "8"], [b"17", b"8"]):
        pq.write_table(pa.table({"id": cells, "x": ["a", "b"]}), tmp_path / "a.parquet")
        assert videos_of(read_table(tmp_path / "a.parquet"), "id", ["8", "17"]).tolist() == [1, 0]


def test_pictures_beside_the_ids_do_no_harm(tmp_path):
    pq.write_table(pa.table({"picture": [b"\xff\xd8"], "id": ["a"]}), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert find_id_column(table, ["a"], None) == "id"
    pq.write_table(pa.table({"picture": [b"\xff\xd8"]}), tmp_path / "b.parquet")
    with pytest.raises(StageError, match=r"b\.parquet: column picture cannot be read: Invalid UTF8"):
        find_id_column(read_table(tmp_path / "b.parquet"), ["a"], None)


def test_a_column_named_like_a_video_is_no_missing_header(tmp_path):
    """Classes may be called as videos are: 0, 1, ..."""
    path = tmp_path / "a.csv"
    path.write_text("id,0,1\n0,1,0\n1,0,1\n2,0,0\n")
    assert find_id_column(read_table(path), ["0", "1", "2"], None) == "id"
