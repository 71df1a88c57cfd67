"""Every field of every configuration: its range, and what is refused on each way in."""

import dataclasses
import math
import re
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.cli.flags import BaseFlags, CommonFlags
from pipeline.cli.overrides import override_flags
from pipeline.cli.parsing import parse_flags
from pipeline.config import (
    POOLING,
    ClassifierConfig,
    ConfigError,
    DatasetConfig,
    EnsembleConfig,
    Experiment,
    FeatureConfig,
    InferenceConfig,
    ModelConfig,
    NetVLADConfig,
    SamplingConfig,
    SubmissionConfig,
    SynthesisConfig,
    ThresholdConfig,
    TrainingConfig,
    from_dict,
    to_dict,
)
from pipeline.config.checked import CheckedFields, field_types, split_annotation
from pipeline.config.ranges import Matching, Several, Within
from pipeline.features.backbone import Backbone
from pipeline.packing.settings import IdSettings
from pipeline.presets import load_experiment

SECTION_KINDS = {
    "dataset": DatasetConfig,
    "synthesis": SynthesisConfig,
    "sampling": SamplingConfig,
    "classifier": ClassifierConfig,
    "training": TrainingConfig,
    "inference": InferenceConfig,
    "ensemble": EnsembleConfig,
    "threshold": ThresholdConfig,
    "submission": SubmissionConfig,
}
KINDS = [*SECTION_KINDS.values(), FeatureConfig, *POOLING.values()]
FIELDS = [(kind, name) for kind in KINDS for name in field_types(kind)]
NAMES = {
    (DatasetConfig, "name"): ["d", "my set"],
    (FeatureConfig, "name"): ["rgb", "audio", "x.1"],
    (FeatureConfig, "source"): ["", "a key"],
    (FeatureConfig, "made_by"): ["", '{"name": "a"}'],
    (DatasetConfig, "labels_key"): ["labels", "é"],
    (DatasetConfig, "group_key"): ["", "channel"],
    (DatasetConfig, "id_keys"): ["id", "video id"],
    (DatasetConfig, "train_splits"): ["train", "validate"],
    (TrainingConfig, "teacher"): ["ensemble", "../runs/a"],
    (TrainingConfig, "freeze"): ["*_norm", "hidden"],
    (TrainingConfig, "devices"): ["all", "8"],
    (InferenceConfig, "devices"): ["all", "8"],
    (SubmissionConfig, "competition"): ["youtube8m-2018"],
}
"""Texts that the fields of text take."""


@dataclasses.dataclass(frozen=True)
class Flags(CommonFlags):
    """A stage's own."""

    model: str | None = None


def subclasses(kind: type) -> set[type]:
    return {kind, *(each for below in kind.__subclasses__() for each in subclasses(below))}


# ------------------------------------------------------------------------------------------------------- declarations


def test_the_fields_of_all_configurations_are_looked_at():
    flags = subclasses(BaseFlags) | subclasses(IdSettings)  # stages' own, each tested where it is used
    declared = {kind for kind in subclasses(CheckedFields) if kind.__module__.startswith("pipeline.")} - flags
    declared -= {Backbone, IdSettings}  # tests/features/test_backbone.py; a part of others
    assert {kind for kind in declared if not kind.__subclasses__()} == {*KINDS, Experiment, ModelConfig}


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_field_declares_its_range(kind, name):
    """Numbers have two bounds and texts a form; what is True or False, a choice, or a configuration needs none."""
    plain, ranges = split_annotation(field_types(kind)[name])
    if type(None) in get_args(plain):
        plain, ranges = split_annotation(next(part for part in get_args(plain) if part is not type(None)))
    if get_origin(plain) is tuple:
        plain, ranges = split_annotation(get_args(plain)[0])
    if plain in (int, float, str):
        assert [type(each) for each in ranges] == [Matching if plain is str else Within]
    else:
        assert plain is bool or get_origin(plain) is Literal or plain is FeatureConfig


def test_a_range_has_one_bound_at_each_end():
    for bounds in ({"least": 1}, {"most": 1}, {"least": 0, "above": 0, "most": 1}, {"least": 0, "most": 1, "below": 1}):
        with pytest.raises(TypeError, match="one bound at each end"):
            Within(**bounds)


# ------------------------------------------------------------------------------------ by hand, whatever is declared

WORKS = [
    (DatasetConfig, "folds", [0, 2, 50]),
    (TrainingConfig, "epochs", [0.01, 1, 100_000]),
    (TrainingConfig, "learning_rate", [1e-8, 10]),
    (TrainingConfig, "batch_size", [1, 4096]),
    (TrainingConfig, "decay_rate", [0.01, 1]),
    (TrainingConfig, "label_smoothing", [0, 0.99]),
    (TrainingConfig, "teacher_share", [0, 1]),
    (TrainingConfig, "teacher", [None, "ensemble", "/runs/a b"]),
    (TrainingConfig, "freeze", [(), ("*",), ("rgb_*", "hidden")]),
    (TrainingConfig, "seed", [0, 2**32 - 1]),
    (TrainingConfig, "devices", ["all", "1", "9999"]),
    (ClassifierConfig, "hidden", [0, 65_536]),
    (ClassifierConfig, "dropout", [0, 0.99]),
    (ClassifierConfig, "head_hidden", [(), (1,), (2048, 2048)]),
    (DatasetConfig, "name", ["youtube8m", "a b", "é" * 100, "x.y", "a" * 200]),
    (DatasetConfig, "num_classes", [1, 100_000]),
    (DatasetConfig, "holdout_percent", [0, 99.9]),
    (FeatureConfig, "name", ["rgb", "a.b-c", "frames", "image/rgb", "a b", "é", "a" * 1000]),
    (NetVLADConfig, "clusters", [(), (1,), (256, 64)]),
    (EnsembleConfig, "top_k", [1, 100_000]),
]
FAILS = [
    (TrainingConfig, "epochs", [0, -1, math.nan, math.inf, 1e18, "3", True, None]),
    (TrainingConfig, "learning_rate", [0, -1e-3, math.nan, math.inf, 11, 1e-50]),
    (TrainingConfig, "batch_size", [0, -1, 2.0, 1 << 40, True]),
    (TrainingConfig, "accumulate", [0, 1.5]),
    (TrainingConfig, "decay_rate", [0, 1.01, math.nan]),
    (TrainingConfig, "label_smoothing", [1, -0.1]),
    (TrainingConfig, "teacher_share", [1.1, -0.1]),
    (TrainingConfig, "teacher", ["", "-a", 3, "a\n"]),
    (TrainingConfig, "freeze", ["*", ("",), ("a b",), ("-a",), ("a", "a"), None]),
    (TrainingConfig, "devices", ["", "0", "none", "-1", "1.5", 2, None]),
    (TrainingConfig, "seed", [-1, 2**32]),
    (TrainingConfig, "decay", ["cosin", 3, ["cosine"]]),
    (ClassifierConfig, "hidden", [-3, 2.5]),
    (ClassifierConfig, "dropout", [1, 1.5, -0.1, math.nan]),
    (ClassifierConfig, "head_hidden", [[8], 8, (0,), (8.0,), ("8",)]),
    (ClassifierConfig, "input_batch_norm", [1, 0, "yes", None]),
    (ClassifierConfig, "experts", [0]),
    (DatasetConfig, "name", ["", "a/b", ".", "..", ".part", "-a", "~", "~a", " a", "a ", "a\x1b[0m", "a\0", "a\\b", 3]),
    (DatasetConfig, "name", ["/", "/a", "../../a", "a" * 201, "é" * 101, "\ud800"]),
    (DatasetConfig, "num_classes", [0, 100_001]),
    (DatasetConfig, "features", [(), [FeatureConfig("a", 1)], FeatureConfig("a", 1), ("a",), None]),
    (DatasetConfig, "id_keys", [(), "id", ("id", "id"), ("",)]),
    (DatasetConfig, "max_frames", [0, -1]),
    (DatasetConfig, "holdout_percent", [100, -1, math.nan]),
    (DatasetConfig, "folds", [1, -1, 51, 5.0, True]),
    (FeatureConfig, "name", ["", "a\n", "\x00", "\ud800", "a" * 1001]),
    (FeatureConfig, "size", [0, -1, 64.0]),
    (FeatureConfig, "made_by", ["a\n", None, "a" * 3001]),
    (NetVLADConfig, "clusters", [[8], 8, (0,), (8, -1), (True,)]),
    (SynthesisConfig, "background", [0, 1, math.nan]),
    (SubmissionConfig, "top_k", [0, 21]),
]


def example(kind: type) -> Any:
    if kind is DatasetConfig:
        return DatasetConfig("d", (FeatureConfig("rgb", 4),), 3)
    return FeatureConfig("rgb", 4) if kind is FeatureConfig else kind()


@pytest.mark.parametrize(("kind", "name", "values"), WORKS)
def test_what_works_is_taken(kind, name, values):
    for value in values:
        assert getattr(dataclasses.replace(example(kind), **{name: value}), name) == value


@pytest.mark.parametrize(("kind", "name", "values"), FAILS)
def test_what_cannot_be_is_refused_by_the_name_of_its_flag(kind, name, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{kind.section}\.{name.replace('_', '-')}(\[\d\])? must be "):
            dataclasses.replace(example(kind), **{name: value})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: TrainingConfig(epochs=math.nan),
            "training.epochs must be more than 0 and at most 100,000 passes over the training videos, not nan",
        ),
        (lambda: TrainingConfig(batch_size=7.5), "must be a whole number from 1 to 1,048,576 videos, not 7.5"),
        (lambda: ClassifierConfig(dropout=1.5), "classifier.dropout must be at least 0 and less than 1, not 1.5"),
        (lambda: NetVLADConfig([8, 4]), "pooling.clusters must be a tuple, not [8, 4]: write (8, 4)"),
        (lambda: NetVLADConfig(8), "pooling.clusters must be a tuple, not 8: write (8,)"),
        (lambda: NetVLADConfig((8, 0)), "pooling.clusters[1] must be from 1 to 1,048,576, not 0"),
        (lambda: SamplingConfig("al"), "must be one of uniform, all, random_frames, random_sequence, not 'al'"),
        (lambda: Experiment(None, ModelConfig()), "dataset must be a DatasetConfig, not None"),
        (lambda: DatasetConfig("d", (FeatureConfig("a", 1), FeatureConfig("a", 2)), 3), "two are named a"),
    ],
)
def test_messages_say_what_is_allowed_and_what_was_got(build, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build()


# ----------------------------------------------------------------------------------------------------- as declared


def values_of(kind: type, name: str, hint: Any) -> st.SearchStrategy:
    """Values that a field may hold, its bounds among them."""
    plain, ranges = split_annotation(hint)
    if type(None) in get_args(plain):
        return st.none() | values_of(kind, name, get_args(plain)[0])
    if get_origin(plain) is tuple:
        element = (
            configurations(FeatureConfig)
            if get_args(plain)[0] is FeatureConfig
            else values_of(kind, name, get_args(plain)[0])
        )
        least = max((each.least for each in ranges if isinstance(each, Several)), default=0)
        return st.lists(element, min_size=least, max_size=2, unique=True).map(tuple)
    if get_origin(plain) is Literal:
        return st.sampled_from(get_args(plain))
    if plain is bool:
        return st.booleans()
    if plain is str:
        return st.sampled_from(NAMES[kind, name])
    (within,) = ranges
    low = within.above if within.least is None else within.least
    high = within.below if within.most is None else within.most
    if plain is int:
        return st.integers(low, high)
    return st.floats(low, high, exclude_min=within.least is None, exclude_max=within.most is None)


@st.composite
def configurations(draw, kind: type) -> Any:
    drawn = {name: draw(values_of(kind, name, hint)) for name, hint in field_types(kind).items()}
    fit(kind, drawn)
    return kind(**drawn)


def fit(kind: type, drawn: dict[str, Any]) -> None:
    """Make fields fit each other that are right alone."""
    if kind is DatasetConfig:
        whole = {feature.name: feature for feature in drawn["features"]}.values()
        drawn["features"] = tuple(dataclasses.replace(feature, dtype="uint8") for feature in whole)
        drawn["folds"] -= drawn["folds"] == 1
    if kind is FeatureConfig:
        low, high = sorted((drawn["minimum"], drawn["maximum"]))
        drawn["minimum"], drawn["maximum"] = (low, high) if low < high and drawn["dtype"] == "uint8" else (-2.0, 2.0)
    if kind is SynthesisConfig:
        drawn["min_frames"], drawn["max_frames"] = sorted((drawn["min_frames"], drawn["max_frames"]))
        drawn["videos_per_shard"] = max(drawn["videos_per_shard"], 8_388_608 // 62**2 + 1)
    if kind is ThresholdConfig:
        drawn["value"] = None if drawn["goal"] == "f1" else drawn["value"] or 0.5
    if kind is EnsembleConfig:
        if not any(drawn["given"]):
            drawn["given"] = ()
        drawn["method"] = "given" if drawn["given"] else "auto" if drawn["method"] == "given" else drawn["method"]
        if drawn["method"] != "auto":
            drawn["select"] = "all"
        drawn["top_runs"] = (drawn["top_runs"] or 1) if drawn["select"] == "top" else None


@st.composite
def experiments(draw) -> Experiment:
    family = draw(st.sampled_from(list(POOLING)))
    sections = {name: draw(configurations(kind)) for name, kind in SECTION_KINDS.items()}
    model = ModelConfig(family, draw(configurations(POOLING[family])), sections.pop("classifier"))
    return Experiment(model=model, **sections)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(experiments())
def test_whole_experiments_go_through_json_and_come_back(experiment):
    assert from_dict(Experiment, to_dict(experiment)) == experiment


@pytest.mark.parametrize("section", [*SECTION_KINDS, "pooling"])
def test_any_setting_can_be_given_as_a_flag(section):
    """All but the features, of which the command line has no whole."""

    @settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        family = data.draw(st.sampled_from(list(POOLING)), "family")
        old = load_experiment("demo", family)
        if section in ("pooling", "classifier"):
            kind = POOLING[family] if section == "pooling" else ClassifierConfig
            new = data.draw(configurations(kind), section)
            replaced = dataclasses.replace(old, model=dataclasses.replace(old.model, **{section: new}))
        else:
            new = data.draw(configurations(SECTION_KINDS[section]), section)
            if section == "dataset":
                new = dataclasses.replace(new, features=old.dataset.features)
            replaced = dataclasses.replace(old, **{section: new})
        before = getattr(old.model if section in ("pooling", "classifier") else old, section)
        flags = override_flags(section, to_dict(before), to_dict(new))
        try:
            _, parsed = parse_flags(Flags, [section], ["--model", family, *flags])
        except ConfigError as error:  # of the whole, not of a field
            assert "batch norm" in str(error) or "cannot pool" in str(error), error
            assume(False)
        assert parsed == replaced

    check()


def wrong_values(hint: Any) -> list[Any]:
    """Values that a field may not hold: next to its bounds, not finite, of other types."""
    plain, ranges = split_annotation(hint)
    if type(None) in get_args(plain):
        return [value for value in wrong_values(get_args(plain)[0]) if value is not None]
    if get_origin(plain) is tuple:
        return [3, "a", None, {"a": 1}, *((value,) for value in wrong_values(get_args(plain)[0]))]
    if plain is bool:
        return [1, "True", None]
    if plain is str:
        return [3, None, "\x1b", True]
    if get_origin(plain) is Literal or plain is FeatureConfig:
        return ["", "UINT8", None, -1, True]
    (within,) = ranges
    if plain is int:
        return [within.least - 1, within.most + 1, math.nan, math.inf, 1e18, "1", True, None, within.least + 0.5]
    low = within.above if within.least is None else math.nextafter(within.least, -math.inf)
    high = within.below if within.most is None else math.nextafter(within.most, math.inf)
    below = [] if within.allows(-1.0) else [-1.0]
    return [low, high, *below, -math.inf, math.nan, math.inf, 1e18, "0.5", True, None]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_out_of_its_range_is_refused_by_name(kind, name):
    """Made in a preset, and read from JSON."""
    flag = f"{kind.section}.{name.replace('_', '-')}"
    for value in wrong_values(field_types(kind)[name]):
        with pytest.raises(ConfigError, match=rf"^{flag}\b.* must be "):
            dataclasses.replace(example(kind), **{name: value})
        stored = to_dict(example(kind)) | {name: list(value) if isinstance(value, tuple) else value}
        with pytest.raises(ConfigError, match=r"^run/config\.json: ") as error:
            from_dict(kind, stored, "run/config.json")
        assert flag in str(error.value) or "FeatureConfig is made of" in str(error.value)


def wrong_words(hint: Any) -> list[str]:
    """Words of a command line that a field may not be given."""
    plain, _ = split_annotation(hint)
    if type(None) in get_args(plain) or get_origin(plain) is tuple:
        return wrong_words(get_args(plain)[0])
    return ["\x1b"] if plain is str else [str(wrong_values(hint)[0])]


@pytest.mark.parametrize("section", [*SECTION_KINDS, "pooling"])
def test_a_flag_out_of_its_range_is_refused_by_name(section, capsys):
    """By the field's declaration, or already as no value of its type."""
    family = "second_order"
    kind = POOLING[family] if section == "pooling" else SECTION_KINDS[section]
    for name, hint in field_types(kind).items():
        if name == "features" or split_annotation(hint)[0] is bool:
            continue
        flag = f"{section}.{name.replace('_', '-')}"
        with pytest.raises((ConfigError, SystemExit)) as refused:
            parse_flags(Flags, [section], ["--model", family, f"--{flag}", *wrong_words(hint)])
        assert flag in str(refused.value) + capsys.readouterr().err
        if split_annotation(hint)[0] in (int, float):
            assert f"{flag} must be " in str(refused.value)


def test_what_is_annotated_is_what_the_checks_see():
    @dataclasses.dataclass(frozen=True)
    class Sized(CheckedFields, section="s"):
        size_of: Annotated[int, Within(1, 3, unit="rows")] = 1
        sizes: tuple[Annotated[int, Within(1, 3)], ...] = ()
        maybe: Annotated[float, Within(above=0, below=1)] | None = None

    assert Sized(3, (1, 2), 0.5) == Sized(size_of=3, sizes=(1, 2), maybe=0.5)
    for values, message in (
        ({"size_of": 4}, "s.size-of must be from 1 to 3 rows, not 4"),
        ({"sizes": (1, 4)}, r"s.sizes\[1\] must be from 1 to 3, not 4"),
        ({"maybe": 1}, "s.maybe must be more than 0 and less than 1, not 1"),
        ({"maybe": "x"}, "s.maybe must be a number more than 0 and less than 1, not 'x'"),
    ):
        with pytest.raises(ConfigError, match=f"^{message}$"):
            Sized(**values)
