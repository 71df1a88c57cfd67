"""Write the preset of a packed dataset: a file that its owner can read, change and train with."""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.config import FeatureConfig, NetVLADConfig
from pipeline.config.wording import counted
from pipeline.packing.task import Task

MODELS = ("average", "netvlad", "attention_cluster")
LONGEST = 300
"""A batch has at most so many frames of a video, as in YouTube-8M; longer ones are sampled over their whole length."""
_DESCRIPTOR, _FEWEST = 1 << 15, 8
"""Of fewer than 100,000 videos each feature's part of a descriptor has at most so many values; then there are fewer
clusters than by default, and so many at least. 256 of a feature of 1,024 values would give netvlad 135 million
weights."""
_STEPS = 600
"""A training has about so many steps: few videos are shown more often than many."""

_HOLD_OUT = "holdout_percent={},  # of the training videos: they choose the best epoch and blend"
_HELD_OUT = "# split holdout chooses the best epoch and blend"
_TEXT = '''\
"""{title}

    ./run_all.sh --preset {path}

Written by pack, which adds to it when more files are packed, as long as you have not changed it.
"""

from pipeline.config import (
    POOLING,
{imports}    SamplingConfig,
    TrainingConfig,
)

MODELS = {models}  # run_all trains these
{clusters}

def experiment(model: str) -> Experiment:
    return Experiment(
        dataset=DatasetConfig(
            name={name},  # and of its folder below data/
            features={features},
            num_classes={num_classes},  # {named}
            max_frames={max_frames},  # a longer video is sampled over its whole length
            {holdout}
{group}{task}        ),
        model=ModelConfig(model, {pooling}, ClassifierConfig(hidden={hidden}{head})),
        sampling=SamplingConfig(train="all", evaluation="all"),
        training=TrainingConfig(
            batch_size={batch_size},
            epochs={epochs},
            learning_rate=1e-3,
            decay="cosine",
            ema_half_life=50,
            precision="auto",
        ),
    )
'''


_POOLING = """
_POOLING = {{  # wide features get fewer clusters than by default, for the memory and the time that few videos are worth
    "netvlad": NetVLADConfig({0}),
    "attention_cluster": AttentionClusterConfig({0}),
}}
"""


@dataclass(frozen=True)
class Counts:
    """Of a packed dataset, as far as its preset depends on them."""

    classes: int
    trained: int
    """Videos with labels in the training split, hold-out included."""
    longest: int
    """Frames of the longest video."""
    grouped: bool
    named: bool
    """Whether vocabulary.csv names the classes."""
    held_out: bool = False
    """Whether there is a split `holdout`."""
    task: Task = "multi_label"


def preset_text(name: str, path: str, features: Sequence[FeatureConfig], counts: Counts) -> str:
    """Return the text of a preset file; see `pipeline.packing.preset` for what its numbers depend on."""
    batch_size, single = batch_of(counts.trained), counts.task == "single_label"
    clusters = clusters_of([feature.size for feature in features], counts.trained)
    imports = ["ClassifierConfig", "DatasetConfig", "Experiment", "FeatureConfig", "ModelConfig"]
    if clusters:
        imports = ["AttentionClusterConfig", *imports, "NetVLADConfig"]
    unmade = [dataclasses.replace(feature, made_by="") for feature in features]
    return _TEXT.format(
        title=_escaped(f"{name}: {described(unmade)}, {counted(counts.classes, 'class', 'classes')}."),
        path=_escaped(path),
        models=_tuple(MODELS),
        imports="".join(f"    {name},\n" for name in imports),
        clusters=_POOLING.format(clusters) if clusters else "",
        pooling="_POOLING.get(model, POOLING[model]())" if clusters else "POOLING[model]()",
        name=json.dumps(name, ensure_ascii=False),
        features=_declared(features),
        num_classes=counts.classes,
        named="vocabulary.csv names them" if counts.named else "labels are their numbers, from 0",
        max_frames=min(counts.longest, LONGEST),
        holdout=_HELD_OUT if counts.held_out else _HOLD_OUT.format(holdout_of(counts.trained)),
        group='            group_key="group",  # a group is never on both sides of the hold-out\n' * counts.grouped,
        task='            task="single_label",  # every labeled video has exactly one label\n' * single,
        hidden=512,
        head=', head="softmax"' * single,
        batch_size=batch_size,
        epochs=max(5, min(60, round(_STEPS * batch_size / max(counts.trained, 1)))),
    )


def batch_of(trained: int) -> int:
    """Return the batch size for a number of training videos: a power of 2, such that an epoch has some 16 steps."""
    return 1 << max(3, min(7, (max(trained, 1) // 16).bit_length() - 1))


def clusters_of(sizes: Sequence[int], trained: int) -> tuple[int, ...] | None:
    """Return how many clusters each feature gets, of features of these sizes; None: as many as by default."""
    usual = NetVLADConfig().fitted(sizes).clusters
    fit = (max(_FEWEST, 1 << (max(_DESCRIPTOR // size, 1).bit_length() - 1)) for size in sizes)
    fewer = tuple(map(min, usual, fit))
    return None if fewer == usual or trained >= 100_000 else fewer


def holdout_of(trained: int) -> int:
    """Return how many percent of the training videos are held out: enough to choose by; of many 2, as in the paper."""
    return 20 if trained < 1000 else 10 if trained < 100_000 else 2


def _escaped(text: str) -> str:
    """Return text as it stands within a docstring."""
    return _quoted(text)[1:-1]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _in_quotes(text: str) -> str:
    """Return the literal of a text: in single quotes, where it is JSON."""
    return repr(text) if '"' in text and text.isascii() else _quoted(text)


def _tuple(texts: Sequence[str]) -> str:
    return f"({', '.join(map(_quoted, texts))})"


def described(features: Sequence[FeatureConfig]) -> str:
    """Return names, sizes, dtypes and recipes of features, to be read."""
    made = (f", made by {each.made_by}" if each.made_by else "" for each in features)
    parts = zip(features, made)
    return ", ".join(f"{each.name} ({counted(each.size, 'value')}, {each.dtype}{by})" for each, by in parts)


def _declared(features: Sequence[FeatureConfig]) -> str:
    """Return the tuple of the features' declarations: on one line, or with recipes on a line for each."""
    calls = [_call(feature) for feature in features]
    if not any(feature.made_by for feature in features):
        return f"({', '.join(calls)},)"
    return _on_lines("(", calls, 3)


def _call(feature: FeatureConfig) -> str:
    arguments = [*_arguments(feature)]
    if not feature.made_by:
        return f"FeatureConfig({', '.join(arguments)})"
    return _on_lines("FeatureConfig(", arguments, 4)


def _on_lines(head: str, parts: Sequence[str], depth: int) -> str:
    """Return a call or a tuple with a line for each part, as it stands within so many brackets."""
    indent = "\n" + 4 * depth * " "
    return head + "".join(f"{indent}    {part}," for part in parts) + f"{indent})"


def _arguments(feature: FeatureConfig) -> Iterator[str]:
    """Yield the arguments of a feature's declaration; what is as by default is left out."""
    yield _quoted(feature.name)
    yield str(feature.size)
    for field in dataclasses.fields(feature)[2:]:
        value = getattr(feature, field.name)
        if value != field.default:
            yield f"{field.name}={_literal(value) if isinstance(value, str) else repr(value)}"


def _literal(text: str) -> str:
    """Return the literal of a text, as it stands within a feature: of JSON with a line for each entry, as one text."""
    return f"\n{20 * ' '}".join(map(_in_quotes, re.split(r'(?<=, )(?=")', text)))
