"""Files of backbones from an address: downloaded once, with the checksum that is known or recorded."""

import json

import pytest
from fixtures.backbones import tiny_pictures
from servers.fault_server import serving

from pipeline.artifacts.done import sha256_of
from pipeline.config.errors import StageError
from pipeline.features.fetching import fetched, recorded_checksum
from pipeline.features.finding import choose_backbones


@pytest.fixture
def address(tmp_path):
    (tmp_path / "served").mkdir()
    tiny_pictures(tmp_path / "served" / "tiny.onnx")
    with serving(tmp_path / "served") as address:
        yield f"{address}/tiny.onnx"


def test_the_first_fetch_records_the_checksum_and_later_uses_verify_it(address, tmp_path):
    folder = tmp_path / "backbones"
    (chosen,) = choose_backbones([f"rgb={address}"], ["rgb.height=16", "rgb.width=16"], folder)
    assert chosen.path == folder / "tiny.onnx" and chosen.backbone.sha256 == sha256_of(chosen.path)
    assert json.loads((folder / "tiny.onnx.sha256.json").read_text())["sha256"] == recorded_checksum(chosen.path)
    chosen.path.write_bytes(b"another")
    with pytest.raises(StageError, match=f"must have {chosen.backbone.sha256}"):
        choose_backbones([address], [], folder)


def test_another_file_than_the_known_one_is_not_kept(address, tmp_path):
    with pytest.raises(StageError, match="must have 00000"):
        fetched(address, tmp_path / "backbones", "known.onnx", "0" * 64)
    assert not (tmp_path / "backbones" / "known.onnx").exists()
    with pytest.raises(StageError, match=r"missing\.onnx"):
        fetched(f"{address.rpartition('/')[0]}/missing.onnx", tmp_path / "backbones")
