"""Which file is whose backbone: names, checksums, options."""

import json

import pytest
from fixtures.backbones import OPEN_NSFW, tiny_pictures, tiny_sound

from pipeline.artifacts.done import sha256_of
from pipeline.config import ConfigError
from pipeline.config.errors import StageError
from pipeline.features.backbone import Backbone
from pipeline.features.finding import choose_backbones, find_by_checksum, keep, kept_at, usual_remark
from pipeline.features.known import KNOWN


def test_features_are_named_by_their_task_or_their_backbones(tmp_path):
    one, other = tiny_pictures(tmp_path / "one.onnx"), tiny_pictures(tmp_path / "other.onnx", seed=1)
    sound = tiny_sound(tmp_path / "sound.onnx")

    def names(*named) -> list[str]:
        return [each.feature for each in choose_backbones([str(each) for each in named], [], tmp_path)]

    assert names(one, sound) == ["rgb", "audio"] and names(one, other) == ["one", "other"]
    assert names(f"left={one}", f"right={one}") == ["left", "right"]
    with pytest.raises(StageError, match="two make the feature x"):
        names(f"x={one}", f"x={other}")
    with pytest.raises(ConfigError, match="the name of the feature"):
        names(f"../x={one}")


def test_options_are_over_the_json(tmp_path):
    path = str(tiny_pictures(tmp_path / "one.onnx"))
    options = ["rgb.mean=104,117,123", "rgb.layout=nhwc", "rgb.scale=1"]
    (chosen,) = choose_backbones([path], options, tmp_path)
    assert chosen.backbone.mean == (104, 117, 123) and chosen.backbone.layout == "nhwc" and chosen.backbone.height == 16
    for options, message in (
        (["rgb"], "write FEATURE.FIELD=VALUE"),
        (["audio.scale=1"], "names audio, and the features are rgb"),
        (["rgb.zoom=1"], "a backbone has no field zoom"),
    ):
        with pytest.raises((StageError, ConfigError), match=message):
            choose_backbones([path], options, tmp_path)


def test_pixels_that_nothing_is_said_of_are_told(tmp_path):
    path = tmp_path / "one.onnx"
    tiny_pictures(path)
    path.with_suffix(".json").unlink(missing_ok=True)

    def remark(*options) -> str | None:
        (chosen,) = choose_backbones([str(path)], list(options), tmp_path)
        return usual_remark(chosen)

    assert "nothing says what one.onnx expects of pixels" in remark() and "one.json beside it" in remark()
    assert remark("rgb.height=16") and not remark("rgb.scale=0.5") and not remark("rgb.mean=1,2,3")
    path.with_suffix(".json").write_text("{}")
    assert remark() is None, "it is said that nothing is to be done"
    (sound,) = choose_backbones([str(tiny_sound(tmp_path / "sound.onnx"))], [], tmp_path)
    assert usual_remark(sound) is None


def test_a_known_file_is_known_by_its_checksum(tmp_path):
    (tmp_path / "renamed.onnx").symlink_to(OPEN_NSFW)
    (chosen,) = choose_backbones([str(tmp_path / "renamed.onnx")], [], tmp_path)
    assert chosen.backbone.channels == "bgr" and chosen.backbone.file == "renamed.onnx"
    assert KNOWN["open-nsfw"].tried and sha256_of(OPEN_NSFW) == KNOWN["open-nsfw"].backbone.sha256
    (tmp_path / "open-nsfw.onnx").write_bytes(b"another")
    with pytest.raises(StageError, match=r"open-nsfw\.onnx has the SHA-256 .* must have 864bb37b"):
        choose_backbones(["open-nsfw"], [], tmp_path)


def test_entries_that_nobody_tried_have_no_checksum_and_no_address():
    for name, known in KNOWN.items():
        assert name == known.backbone.name and known.published.startswith("https://")
        assert known.tried or not (known.backbone.sha256 or known.address or known.license)


def test_files_are_kept_for_predict_and_found_by_their_checksum(tmp_path):
    path = tiny_pictures(tmp_path / "one.onnx")
    (chosen,) = choose_backbones([str(path)], [], tmp_path)
    folder = tmp_path / "kept"
    with pytest.raises(StageError, match=rf"name one\.onnx with the SHA-256 {chosen.backbone.sha256} by --backbone-f"):
        find_by_checksum(chosen.backbone, [tmp_path / "one.json"], folder)
    keep(chosen, folder)
    assert find_by_checksum(chosen.backbone, [], folder) == kept_at(folder, chosen.backbone)
    path.unlink()
    assert find_by_checksum(chosen.backbone, [], folder).read_bytes()
    assert find_by_checksum(Backbone(name="a", file="keras:A"), [], folder) is None


def test_a_pca_is_part_of_the_backbone(tmp_path):
    path = tiny_pictures(tmp_path / "one.onnx", pca="pca.npz")
    with pytest.raises(StageError, match=r"pca\.npz is missing"):
        choose_backbones([str(path)], [], tmp_path)
    (tmp_path / "pca.npz").write_bytes(b"1")
    (chosen,) = choose_backbones([str(path)], [], tmp_path)
    assert chosen.backbone.pca_sha256 == sha256_of(tmp_path / "pca.npz")
    keep(chosen, tmp_path / "kept")
    assert (kept_at(tmp_path / "kept", chosen.backbone).with_name("pca.npz")).exists()
    assert json.loads((tmp_path / "one.json").read_text())["pca"] == "pca.npz"
