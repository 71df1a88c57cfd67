"""Tell the user what to know of an index before training: what is lost, duplicated, constant or not held out."""

from collections.abc import Iterator
from typing import Any

from pipeline.config.wording import counted, listed
from pipeline.inputs.index import HOLDOUT, TRAIN

HANDFUL = 8
"""This many videos or fewer may well have the same labels, or the same values, by chance."""
SMALL_HOLDOUT = 50
"""Scores on fewer videos than this are mostly chance."""
_UNCHOSEN = "the best epoch cannot be chosen, so the last one's weights are kept, and an ensemble's weights are equal"


def dataset_remarks(summary: dict[str, Any]) -> list[str]:
    """Return a sentence for each remark on the summary that `write_index` returns."""
    return [
        *_losses(summary),
        *_doubles(summary),
        *_unlabelled(summary),
        *_constants(summary),
        *_same_labels(summary),
        *_holdout(summary),
    ]


def _losses(summary: dict[str, Any]) -> Iterator[str]:
    cut, empty, most = summary["cut"], summary["empty"], summary["dataset"]["max_frames"]
    if cut["count"]:
        yield (
            f"more than {counted(most, 'frame')} in {cut['count']} of {counted(cut['of'], 'video')}, up to "
            f"{cut['longest']}: at most {most} are read, spread over the whole length; see --dataset.max-frames"
        )
    if empty["count"]:
        files = listed([entry["file"] for entry in empty["first"]], 3, empty["count"])
        yield f"{counted(empty['count'], 'file')} empty or damaged, without a video: {files}"


def _doubles(summary: dict[str, Any]) -> Iterator[str]:
    for what, noun, remark in (
        ("duplicates", "record", "with an id that its split had already; the first one counts"),
        ("leakage", "video", "both trained on and in another split; scores there are too high"),
    ):
        if count := summary[what]["count"]:
            yield f"{counted(count, noun)} {remark} (for example {summary[what]['first'][0]['id']!r}; see dataset.json)"


def _unlabelled(summary: dict[str, Any]) -> Iterator[str]:
    if count := summary["unlabelled"]["count"]:
        example = summary["unlabelled"]["first"][0]["id"]
        use = "to train on or to hold out" if _own_holdout(summary) else "to train on"
        yield (
            f"{counted(count, 'video')} {use} without labels, such as {example!r}: they are neither trained on "
            "nor scored (see left_out.parquet); a video to which no class applies has an empty list of labels"
        )


def _constants(summary: dict[str, Any]) -> Iterator[str]:
    if sum(summary["counts"].values()) > HANDFUL:
        for name, value in summary["constant"].items():
            what = f"has the same value, {value:g}, in" if value else "is silent, 0 in"
            yield f"feature {name} {what} every frame that was looked at: it cannot tell videos apart"


def _same_labels(summary: dict[str, Any]) -> Iterator[str]:
    """Yield a remark on labels that every labeled training video has: all have the same set, or lists are padded."""
    trained = [split for split in (TRAIN, HOLDOUT) if split in summary["counts"]]
    count = sum(summary["labelled"][split] for split in trained)
    if count <= HANDFUL or summary["dataset"]["num_classes"] == 1:
        return
    videos: dict[str, int] = {}
    for split in trained:
        for label, having in summary["statistics"]["videos_a_label"][split].items():
            videos[label] = videos.get(label, 0) + having
    always = [label for label, having in videos.items() if having == count]
    if always and len(videos) == len(always):
        yield f"all {count} labeled training videos have the same labels, {', '.join(always)}: nothing can be learned"
    elif always:
        yield (
            f"all {count} labeled training videos have label {', '.join(always)}: it cannot tell them apart "
            "(perhaps the lists of labels are padded with it)"
        )


def _holdout(summary: dict[str, Any]) -> Iterator[str]:
    counts, dataset = summary["counts"], summary["dataset"]
    percent = dataset["holdout_percent"]
    own = _own_holdout(summary)
    folds = summary.get("folds")
    if folds and TRAIN in counts:
        least, most = min(folds["videos"]), max(folds["videos"])
        groups = f" of {counted(folds['groups'], 'group')}" if dataset.get("group_key") else ""
        yield (
            f"{counted(counts[TRAIN], 'training video')}{groups} in {len(folds['videos'])} folds of "
            f"{f'{least} to {most}' if least < most else least}: --dataset.holdout-percent is not used"
        )
        return
    if own and TRAIN in counts:
        yield f"split {HOLDOUT} is the hold-out: --dataset.holdout-percent is not used, and all others are trained on"
    if TRAIN not in counts:
        names = ", ".join(dataset["train_splits"])
        yield f"there are no videos to train on: dataset.train-splits names {names}; there are: {', '.join(counts)}"
    elif own and not counts[HOLDOUT]:
        yield f"split {HOLDOUT} has no video with labels: {_UNCHOSEN}"
    elif not own and not percent:
        yield f"nothing is held out (--dataset.holdout-percent is 0): {_UNCHOSEN}"
    elif not counts[HOLDOUT]:
        yield (
            f"{percent:g} % of {counted(counts[TRAIN], 'video')} is too few to hold out any "
            f"(--dataset.holdout-percent): {_UNCHOSEN}"
        )
    elif not summary["labelled"][HOLDOUT]:
        yield f"no video of the hold-out has labels: {_UNCHOSEN}"
    elif counts[HOLDOUT] < SMALL_HOLDOUT:
        see = "" if own else "; see --dataset.holdout-percent"
        yield f"the hold-out has only {counted(counts[HOLDOUT], 'video')}{see}"


def _own_holdout(summary: dict[str, Any]) -> bool:
    """Return whether the hold-out is a split of its own, and not taken from the training videos."""
    return any(shard["split"] == HOLDOUT for shard in summary["shards"])
