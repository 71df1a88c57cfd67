"""Open the index that a stage reads, and check it against what the preset and the flags declare."""

from pathlib import Path

from pipeline.cli.flags import CommonFlags
from pipeline.config import Experiment, differences, to_dict
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.presets import load_experiment


def open_index(flags: CommonFlags, experiment: Experiment, folder: Path | None = None) -> Index:
    """Open the index of the preset's dataset, or the one in `folder`.

    The dataset is as the index declares it, including the flags that `ingest` was given. A preset edited since then, or
    other flags of this stage, would have no effect, so they are refused.

    Raises:
        StageError: there is no such index, or it was made with other settings; the message names the fields.
    """
    own = flags.places.index(experiment.dataset.name)
    folder = own if folder is None else folder
    index = Index.open(folder, verify=flags.verifies)
    wanted, there = to_dict(experiment.dataset), to_dict(index.dataset)
    preset = to_dict(load_experiment(flags.preset, experiment.model.family).dataset)
    fields = wanted.keys() | there.keys() | preset.keys()  # those of defaults may be left out
    said = {field for field in fields if wanted.get(field) != preset.get(field)}  # set by flags
    if folder == own:
        declared = index.summary.get("declared") or there
        said |= {field for field in fields if wanted.get(field) != declared.get(field)}
    now, then = ({field: each.get(field) for field in said} for each in (wanted, there))
    if changed := differences(then, now):
        raise StageError(
            f"{index.folder} was made with other settings than --preset {flags.preset} and the flags say now: "
            f"{'; '.join(changed)}. Run ingest, or undo the change"
        )
    return index
