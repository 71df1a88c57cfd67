"""The index that a stage reads, checked against what its preset and its flags declare."""

from pipeline.artifacts import StageError
from pipeline.commandline import Common, load_experiment
from pipeline.config import Experiment, differences, to_dict
from pipeline.inputs.index import Index


def open_index(flags: Common, experiment: Experiment, dataset: str | None = None) -> Index:
    """The index of the preset's dataset, or of another one, by name.

    The index is what counts, with what `ingest` was told by flags. What the preset says otherwise since, or flags of
    this stage do, would be ignored: it is refused.

    Raises:
        StageError: there is no such index; or it was made of another declaration, in the fields that it names.
    """
    name = dataset or experiment.dataset.name
    index = Index.open(flags.places.index(name), verify=flags.verifies)
    if name == experiment.dataset.name:
        _check(index, flags, experiment)
    return index


def _check(index: Index, flags: Common, experiment: Experiment) -> None:
    wanted, there = to_dict(experiment.dataset), to_dict(index.dataset)
    preset = to_dict(load_experiment(flags.preset, experiment.model.family).dataset)
    declared = {**there, **(index.summary.get("declared") or {})}
    # Where neither the preset nor this stage's flags say anything new, the flags of ingest count on.
    said = {field: value for field, value in wanted.items() if value != preset[field] or value != declared[field]}
    if changed := differences({field: there[field] for field in said}, said):
        raise StageError(
            f"{index.folder} was made with other settings than --preset {flags.preset} and the flags say now: "
            f"{'; '.join(changed)}. Run ingest, or undo the change"
        )
