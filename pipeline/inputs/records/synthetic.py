"""A synthetic YouTube-8M: each video's labels, scenes and frames are a pure function of seed, split and number."""

import functools
import itertools
import string
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.artifacts.files import atomic_file
from pipeline.config import ConfigError, DatasetConfig, FeatureConfig, SynthesisConfig
from pipeline.inputs.records import encoding, tfrecord

SPLITS = ("train", "test")
AWKWARD_IDS = ("1e10", "true", "-abc", "0012", "null", "0e12", "007A", "____")
"""The first ids of the test split. Code that reads ids as anything but text breaks on them."""
_BASE62 = string.digits + string.ascii_lowercase + string.ascii_uppercase
_BASE64 = string.ascii_letters + string.digits + "-_"

# YouTube-8M's distribution (vocabulary and validate labels of 2018): how many videos the class of a rank has, and how
# many in 100,000 videos have 1, 2, ... labels.
_RANKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 386, 500, 966, 1500, 1931, 2897, 3862)
_COUNTS = (788288, 539945, 415890, 286532, 156226, 84258, 33328, 14962, 7926, 3832, 2761, 1200, 635, 441, 234, 123)
_LABELS = (24598, 22605, 18722, 15413, 8879, 4659, 2488, 1289, 668, 340, 181, 86, 40, 21, 6, 1, 1, 1, 1, 1)

# --------------------------------------------------------------------------------------------------------------- shards


@dataclass(frozen=True)
class Shard:
    """A file, and which videos of its split it holds."""

    path: str
    """`<split>/<name>.tfrecord`; the name is the split and two characters, as on YouTube-8M's mirrors."""
    split: str
    first: int
    count: int


def plan_shards(dataset: DatasetConfig, synthesis: SynthesisConfig) -> list[Shard]:
    """Return the files of a synthetic dataset. Raises ConfigError if they cannot be made as declared."""
    if dataset.dtype != (dtype := "uint8" if dataset.level == "frame" else "float32"):
        raise ConfigError(f"dataset {dataset.name}: synthetic features of {dataset.level} level must be {dtype}")
    names = _generator(synthesis.seed, "names").permutation(len(_BASE62) ** 2).tolist()
    shards = []
    for split, videos in zip(SPLITS, (synthesis.train_videos, synthesis.test_videos)):
        for first, name in zip(range(0, videos, synthesis.videos_per_shard), names):
            path = f"{split}/{split}{_BASE62[name // 62]}{_BASE62[name % 62]}.tfrecord"
            shards.append(Shard(path, split, first, min(synthesis.videos_per_shard, videos - first)))
    return shards


def write_shard(dataset: DatasetConfig, synthesis: SynthesisConfig, shard: Shard, folder: Path) -> int:
    """Write a shard below `folder`, whole or not at all; return how many videos it holds."""
    with atomic_file(folder / shard.path) as temporary, temporary.open("wb") as file:
        return tfrecord.write_records(file, _records(dataset, synthesis, shard))


def _records(dataset: DatasetConfig, synthesis: SynthesisConfig, shard: Shard) -> Iterator[bytes]:
    numbers = range(shard.first, shard.first + shard.count)
    for number, identity in zip(numbers, video_ids(synthesis.seed, shard.split, numbers)):
        video = make_video(dataset, synthesis, shard.split, number)
        context: dict[str, encoding.Value] = {dataset.id_keys[0]: identity}
        if shard.split != "test":
            context[dataset.labels_key] = video.labels
        if dataset.level == "frame":
            yield encoding.encode_sequence_example(context, {f.key: video.frames[f.name] for f in dataset.features})
        else:
            means = {f.key: video.frames[f.name].mean(0) * (4 / 255) + (4 / 512 - 2) for f in dataset.features}
            yield encoding.encode_example(context | means)


def video_ids(seed: int, split: str, numbers: range) -> list[str]:
    """Return ids of four characters, unique across splits: a permutation of the numbers below 64^4 in base 64."""
    code = np.array([2 * n + 1 for n in range(len(AWKWARD_IDS))] + [2 * n + SPLITS.index(split) for n in numbers])
    for odd in (2 * np.random.default_rng([seed, 64]).integers(1 << 23, size=3) + 1).tolist():
        code = (code + odd) * odd % 64**4  # each step is invertible, so no two numbers become equal
        code ^= code >> 11
    for n, identity in enumerate(AWKWARD_IDS):  # swaps places with the id that this test video would have had
        awkward, own = sum(_BASE64.index(letter) * 64**place for place, letter in enumerate(identity)), code[n]
        code = np.where(code == own, awkward, np.where(code == awkward, own, code))
    digits = code[len(AWKWARD_IDS) :, None] // 64 ** np.arange(4) % 64  # n,4
    return ["".join(_BASE64[digit] for digit in row) for row in digits.tolist()]


def _generator(seed: int, *key: str | int) -> np.random.Generator:
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, *words])))


# --------------------------------------------------------------------------------------------------------------- labels


class Vocabulary(NamedTuple):
    """How often each of V classes occurs, and with which others: each class may bring along R related ones."""

    frequency: np.ndarray  # V: the share of videos that is wanted, descending
    parent: np.ndarray  # V: a more frequent class that mostly comes along (Minecraft: Video game), or -1
    lengths: np.ndarray  # 20: the probability of 1, 2, ... labels; this and the next two are cumulative
    alone: np.ndarray  # V: the probability of being a video's only label
    leading: np.ndarray  # V: the probability of being the label that brings the others along
    related: np.ndarray  # V,R: int64, the classes that each may bring along
    affinity: np.ndarray  # V,R: how readily it brings each of them

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the labels of a video, int64 [K], the leading one first; the others are the first related to arrive."""
        count = 1 + np.searchsorted(self.lengths, rng.random(), side="right")
        leader = np.searchsorted(self.alone if count == 1 else self.leading, rng.random(), side="right")
        arrival = rng.standard_exponential(self.related.shape[1]) / self.affinity[leader]  # R
        return np.append(leader, self.related[leader, np.argsort(arrival)[: count - 1]])


@functools.lru_cache(maxsize=4)
def vocabulary(num_classes: int, seed: int) -> Vocabulary:
    """Return a dataset's classes: frequencies and labels per video as in YouTube-8M, related in a forest of topics."""
    rng = _generator(seed, "vocabulary")
    lengths = np.bincount(np.minimum(range(20), num_classes - 1), _LABELS, minlength=20) / sum(_LABELS)
    count = np.exp(np.interp(np.log(np.arange(1, num_classes + 1)), np.log(_RANKS), np.log(_COUNTS)))
    frequency = np.minimum(count / count.sum() * (lengths @ np.arange(1, 21)), 0.95)

    parent, topic, depth = np.full(num_classes, -1), np.arange(num_classes), np.zeros(num_classes, int)
    lineage: list[list[int]] = [[] for _ in range(num_classes)]  # parent, grandparent, ...
    spare = 0.9 * frequency  # for each class, what its children may still bring along
    for child, need in enumerate(0.75 * frequency):
        free = np.flatnonzero((spare[:child] >= need) & (depth[:child] < 3))
        if len(free) and rng.random() > 0.06:
            chance = np.cumsum(spare[free] ** -0.5)  # narrow topics first, or all would hang below the first class
            parent[child] = above = int(free[np.searchsorted(chance, rng.random() * chance[-1])])
            lineage[child] = [above, *lineage[above]]
            topic[child], depth[child] = topic[above], depth[above] + 1
            spare[above] -= need

    size = min(24, num_classes - 1)
    related, affinity = np.zeros((num_classes, size), int), np.zeros((num_classes, size))
    for a in range(num_classes):
        close = (parent == a) | (parent == parent[a]) & (depth > 0)
        pull = np.sqrt(frequency) * np.where(close, 20, np.where(topic == topic[a], 0.5, 0.0001))
        pull *= rng.lognormal(sigma=1.5, size=num_classes)
        pull[lineage[a]] = (200, 30, 5)[: depth[a]]
        pull[a] = -1
        related[a] = np.argsort(-pull)[:size]
        affinity[a] = pull[related[a]]
    alone, leading = _fit(frequency, lengths, related, affinity, np.where(depth > 0, 0.03, 1) * frequency)
    lengths, alone, leading = (np.cumsum(share) / np.cumsum(share)[-1] for share in (lengths, alone, leading))
    return Vocabulary(frequency, parent, lengths, alone, leading, related, affinity)


def _fit(frequency, lengths, related, affinity, alone) -> tuple[np.ndarray, np.ndarray]:
    """Return how often classes must be alone, and lead, to have these frequencies, by expectation maximization.

    The race among a leader's related classes is approximated by independent draws: a class comes along with probability
    1 - exp(-t affinity). Bisection finds the t for which the wanted number of classes comes.
    """
    brings = np.zeros_like(affinity)  # V,R
    for others in range(1, min(20, len(frequency))):
        low, high = np.full((2, len(frequency), 1), [[[-40.0]], [[40.0]]])  # of log t
        for _ in range(40):
            middle = (low + high) / 2
            come = -np.expm1(-np.exp(middle) * affinity)  # V,R
            many = come.sum(1, keepdims=True) > others
            low, high = np.where(many, low, middle), np.where(many, middle, high)
        brings += lengths[others] / (1 - lengths[0]) * come
    leading = frequency
    for _ in range(200):
        alone, leading = alone / alone.sum(), leading / leading.sum()
        brought = np.bincount(related.ravel(), (leading[:, None] * brings).ravel(), minlength=len(frequency))
        ratio = frequency / (lengths[0] * alone + (1 - lengths[0]) * (leading + brought))
        alone, leading = alone * ratio, leading * (ratio + (brings * ratio[related]).sum(1))
    return alone, leading


# --------------------------------------------------------------------------------------------------------------- frames


class Video(NamedTuple):
    """A synthetic video."""

    labels: np.ndarray  # K: int64, ascending
    shown: np.ndarray  # n: int64, the class that a frame's scene shows, -1 for background
    frames: dict[str, np.ndarray]  # n,F: uint8, by the feature's name


def make_video(dataset: DatasetConfig, synthesis: SynthesisConfig, split: str, number: int) -> Video:
    """Make the video of this number, which does not depend on how many videos there are."""
    rng = _generator(synthesis.seed, split, number)
    labels = vocabulary(dataset.num_classes, synthesis.seed).draw(rng)
    num_frames = int(rng.integers(synthesis.min_frames, synthesis.max_frames, endpoint=True))
    cuts = np.cumsum(2 + np.minimum(7 * rng.standard_exponential(num_frames // 2), 28).astype(int))
    cuts = cuts[: np.searchsorted(cuts, num_frames - 1)]  # so that the last scene has two frames or more too
    scene = np.repeat(np.arange(len(cuts) + 1), np.diff(cuts, prepend=0, append=num_frames))  # n

    # The number of scenes that show a class varies. Each label gets one before any gets a second. The others show only
    # background.
    share = rng.beta(3 - 3 * synthesis.background, 3 * synthesis.background)
    least = min(len(labels), len(cuts) + 1)
    telling = rng.permutation(len(cuts) + 1)[: max(least, round((len(cuts) + 1) * share))]
    label = np.append(np.arange(least), rng.integers(len(labels), size=len(telling) - least))
    shown, look = np.full((2, len(cuts) + 1), -1)  # S
    shown[telling] = labels[label]
    look[telling] = rng.integers(synthesis.appearances, size=(len(labels), 2))[label, rng.integers(2, size=len(label))]

    frames = {f.name: _draw_frames(f, dataset, synthesis, shown, look, scene, rng) for f in dataset.features}
    return Video(np.sort(labels), shown[scene], frames)


def _draw_frames(feature: FeatureConfig, dataset: DatasetConfig, synthesis: SynthesisConfig, shown, look, scene, rng):
    """Draw quantized frames, uint8 [n,F]: the sum of what a scene shows, confusion, the video's style, and a drift.

    The standard deviations are chosen to give YouTube-8M's: 0.87 over frames; 0.46 (rgb) and 0.69 (audio) over the
    means of videos. Sound tells less than images: of ten scenes that show a class, six sound like it.
    """
    audible, style, drift = (0.6, 0.66, 0.33) if "audio" in feature.name else (1.0, 0.32, 0.51)
    classes, backgrounds, basis = _appearances(feature, dataset.num_classes, synthesis)
    pool = rng.integers(len(backgrounds), size=4)  # each video has only four backgrounds
    latent = backgrounds[pool[rng.integers(4, size=len(shown))]]  # S,D
    telling = (shown >= 0) & (rng.random(len(shown)) < audible)
    latent[telling] = classes[shown[telling], look[telling]]
    latent *= (1 - synthesis.confusion) ** 0.5
    latent += synthesis.confusion**0.5 * rng.standard_normal(latent.shape, np.float32)
    center = latent @ basis + style * rng.standard_normal(feature.size, np.float32)  # S,F
    center += 2 - 4 / 512 + 2 / 255  # half a step more, since the conversion below rounds down

    frames = drift * rng.standard_normal((len(scene), feature.size), np.float32)  # n,F
    for before, now in itertools.pairwise(frames):  # autoregressive, with a correlation of 0.8 between neighbors
        now *= 0.6
        now += np.float32(0.8) * before
    frames += center[scene]
    frames *= 255 / 4
    return frames.clip(0, 255, out=frames).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def _appearances(feature: FeatureConfig, num_classes: int, synthesis: SynthesisConfig) -> tuple[np.ndarray, ...]:
    """Return classes [V,A,D] and backgrounds [64,D] in a space of D directions, and the basis [D,F] of that space.

    D is so small that the sum of all that a video shows cannot be separated again, while single frames can be told
    apart.
    """
    rng = _generator(synthesis.seed, feature.name.removeprefix("mean_"))  # the means are those of the frame-level set
    directions = min(feature.size, round(3 * feature.size**0.5))
    classes = rng.standard_normal((num_classes, synthesis.appearances, directions), np.float32)
    for child, parent in enumerate(vocabulary(num_classes, synthesis.seed).parent):
        if parent >= 0:  # Minecraft looks somewhat like a video game
            classes[child] = 0.7**0.5 * classes[child] + 0.3**0.5 * classes[parent]
    backgrounds = rng.standard_normal((64, directions), np.float32)
    spread = 0.5 if "audio" in feature.name else 0.65
    return classes, backgrounds, spread * directions**-0.5 * rng.standard_normal((directions, feature.size), np.float32)
