"""Blend the predictions of several runs: their weighted mean, with equal weights.

Reads runs/<preset>/*/predictions/<split>/; writes runs/<preset>/ensemble/: weights, scores, blended predictions.
"""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts import ENSEMBLE, WEIGHTS, Done, StageError, find_run, list_runs, write_json
from pipeline.blending import blend
from pipeline.commandline import Common, parse, run_stage
from pipeline.inputs.index import Index
from pipeline.scoring import score
from pipeline.store import Predictions, PredictionStore, predicted_splits


@dataclass(frozen=True)
class Flags(Common):
    runs: tuple[str, ...] = ()
    """Names or paths of the runs to blend; by default every run of the preset that has predictions."""


def main() -> None:
    flags, experiment = parse(Flags, ["ensemble"])
    if flags.runs:
        members = [find_run(flags.places, flags.preset_name, run) for run in flags.runs]
    else:
        members = [run for run in list_runs(flags.places, flags.preset_name) if predicted_splits(run)]
    if len({member.resolve() for member in members}) < max(len(members), 1):
        raise StageError(f"no runs to blend, or one named twice: {', '.join(map(str, members)) or 'none'}")
    splits = sorted(set.intersection(*(set(predicted_splits(member)) for member in members)))
    if not splits:
        raise StageError("the runs have no split in common that all have predicted: run infer for each of them")
    index = Index.open(flags.places.index(experiment.dataset.name))
    folder = flags.places.run(flags.preset_name, ENSEMBLE)
    weights = [1 / len(members)] * len(members)
    scores = {}
    for split in splits:
        store = PredictionStore(folder / "predictions" / split)
        _blend(members, weights, split, store, index, experiment.ensemble.top_k)
        if index.labelled(split):
            scores[split] = {"ensemble": score(store, index, split)}
            for member in members:
                scores[split][member.name] = score(PredictionStore(member / "predictions" / split), index, split)
    write_json(
        folder / WEIGHTS,
        {
            "members": [
                {"run": member.name, "path": str(member), "weight": weight} for member, weight in zip(members, weights)
            ],
            "scores": scores,
        },
    )
    print(f"{folder}: {len(members)} runs blended on {', '.join(splits)}")


def _blend(members: list[Path], weights: list[float], split: str, store: PredictionStore, index: Index, k: int) -> None:
    stores = [PredictionStore(member / "predictions" / split) for member in members]
    inputs = {str(number): Done.read(each.folder).output for number, each in enumerate(stores)}
    config = {"members": [member.name for member in members], "weights": weights, "top_k": k}
    done = Done.read(store.folder)
    if done and not done.changes(config, inputs):
        print(f"{store.folder}: up to date")
        return
    sizes = {each.videos_per_part for each in stores}
    if len(sizes) > 1:
        raise StageError(f"the runs' predictions of {split} are cut into parts of {sizes} videos: infer them alike")
    videos = len(index.rows(split))
    missing = dict(store.begin(config, inputs, videos, sizes.pop()))
    with tqdm(total=len(stores[0].parts()), desc=f"ensemble {split}", unit=" parts") as bar:
        for number, parts in enumerate(zip(*(each.read() for each in stores), strict=True)):
            if any(part.ids != parts[0].ids for part in parts[1:]):
                raise StageError(f"the runs predicted different videos of {split}: run infer again for each of them")
            if number in missing:
                labels, scores = blend(
                    [part.labels for part in parts],
                    [part.scores for part in parts],
                    weights,
                    min(k, max(part.labels.shape[1] for part in parts)),
                    index.dataset.num_classes,
                )
                store.write(number, Predictions(parts[0].ids, labels, scores))
            bar.update()
    store.finish(config, inputs)


if __name__ == "__main__":
    run_stage(main)
