"""The trained run that another one begins with: find it, and say which of its layers belong to which."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.folds import fold_folders, is_folded
from pipeline.artifacts.places import RUN_CONFIG, Places, find_run
from pipeline.config import DatasetConfig
from pipeline.config.errors import StageError
from pipeline.inference.runs import TrainedRun
from pipeline.inputs.class_names import stored_class_names
from pipeline.inputs.index import Index
from pipeline.models import load_model
from pipeline.models.naming import PARTS, layer_names

if TYPE_CHECKING:
    import keras


class Start:
    """A trained run, of any preset, whose weights another run begins with.

    Args:
        places: the folders in which runs and indexes lie.
        preset_name: the name of the folder of the runs of the preset.
        name: the name or the path of the trained run.
        folder: the folder of the run that begins.
        index: what the run that begins is trained on.
        known: the digest of the weights that it has begun with, if it has; the trained run may be gone then.

    Raises:
        StageError: there is no such run, it is not trained to its end, or its features have other sizes.
    """

    def __init__(self, places: Places, preset_name: str, name: str, folder: Path, index: Index, known: str | None):
        self.name, self.digest = name, known
        try:
            self.folder = find_run(places, preset_name, name)
        except StageError:
            if known is None:
                raise
            return
        if self.folder.resolve() == folder.resolve():
            raise StageError(f"--from {name}: a run cannot begin with its own weights; choose another --run")
        if is_folded(self.folder):
            # In the same folds the model that has not seen what is held out; elsewhere any is as good.
            folds = fold_folders(self.folder)
            self.folder = folds[index.held_out - 1 if 0 < index.held_out <= len(folds) else 0]
        if not (self.folder / RUN_CONFIG).exists():
            raise StageError(f"--from {name}: {self.folder} is a blend; name one of the runs that it blends")
        run = TrainedRun.read(self.folder)
        (self.stored, *_), self.digest = run.models, run.digest
        theirs, ours = run.dataset, index.dataset
        seen = index.held_out and theirs.name == ours.name and run.trained_on != (index.digest,)
        if seen or (theirs.folds and not index.held_out and theirs.name == ours.name):
            raise StageError(
                f"--from {name}: {self.folder} was trained on videos of {ours.name} that this training holds out; "
                "choose a run of other data, or one that is trained in the same folds"
            )
        pairs = zip(theirs.features, ours.features)
        names = {feature.name for feature in ours.features}
        moved = any(their.name != our.name and their.name in names for their, our in pairs)
        sizes = [[feature.size for feature in dataset.features] for dataset in (theirs, ours)]
        pairs = zip(theirs.features, ours.features)
        mixed = any(their.made_by and our.made_by and their.made_by != our.made_by for their, our in pairs)
        if sizes[0] != sizes[1] or moved or mixed:
            raise StageError(
                f"--from {name}: {self.folder} was trained on {_features(theirs)}, and {index.folder} has "
                f"{_features(ours)}; its weights fit features of equal sizes in the same order, made alike"
            )
        self._layers = _renamed(*([each.name for each in dataset.features] for dataset in (ours, theirs)))
        self._same_classes = _same_classes(places, theirs, index)

    def give_to(self, model: "keras.Model") -> None:
        """Give a model the weights that fit it, and print what became of each of its layers.

        Raises:
            StageError: none fits, or the run is gone.
        """
        from pipeline.training.taking import take_layers

        if not hasattr(self, "folder"):
            raise StageError(f"--from {self.name}: the run is gone, and nothing is trained yet; name another")
        taken = take_layers(load_model(self.stored), model, self._layers, self._same_classes)
        fitting, others = ([each for each in taken if each.fits is fits] for fits in (True, False))
        if not fitting:
            faults = "; ".join(map(str, others))
            raise StageError(f"--from {self.name}: no layer of {self.folder} fits this model: {faults}")
        given, whole = (sum(each.parameters for each in layers) for layers in (fitting, taken))
        print(f"{self.folder} gives {given:,} of {whole:,} parameters: {', '.join(map(str, fitting))}")
        for each in others:
            print(f"  not {each}")


def _features(dataset: DatasetConfig) -> str:
    made = (f" made by {each.made_by}" * bool(each.made_by) for each in dataset.features)
    return ", ".join(f"{each.name} of {each.size} values{by}" for each, by in zip(dataset.features, made))


def _renamed(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Return the name that a layer of a feature has in a model of other features, where it is another one."""
    pairs = zip(layer_names(ours), layer_names(theirs), strict=True)
    return {f"{one}_{part}": f"{other}_{part}" for one, other in pairs for part in PARTS if one != other}


def _same_classes(places: Places, theirs: DatasetConfig, index: Index) -> bool:
    """Return whether two datasets have the same classes: equal names, or where those are not known one dataset."""
    if theirs.num_classes != index.dataset.num_classes:
        return False
    if theirs.name == index.dataset.name:
        return True
    names = stored_class_names(places.index(theirs.name), theirs.num_classes)
    return index.has_class_names and names == index.class_names
