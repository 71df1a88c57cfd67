"""Turn video and sound files into a dataset of frame features: what `pack` makes, with features from --backbones.

FFmpeg decodes any container and codec, at --fps frames a second by the times in the file; a backbone makes a feature of
each frame, or of the sound that begins with it. Writes data/<name>/extracted/ and, with --labels, what `pack` writes.
The same command with more files adds them; a killed one goes on. Damaged files are named, and what could be read of
them is used; the exit status is 1 then.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.parts import PATIENCE, Part, note_part, require_parts
from pipeline.cli.flags import ForceFlags, MediaFlags, PartFlags, PlacesFlags, WorkerFlags
from pipeline.cli.parsing import parse_own_flags
from pipeline.cli.running import call_stage, run_stage
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, first_lines
from pipeline.features.backbone import FPS, Recipe
from pipeline.features.estimate import estimate
from pipeline.features.extraction import extract
from pipeline.features.files import find_media
from pipeline.features.finding import FOLDER, Chosen, choose_backbones, keep, kept_at, usual_remark
from pipeline.features.media import load_av
from pipeline.features.networks import Network
from pipeline.features.store import Store, StoredFile, ids_of
from pipeline.features.tasks import MOST, Extraction, extract_files
from pipeline.inputs.index.ids import id_fault
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.packing.dataset import check_settings, dataset_of
from pipeline.packing.labels.annotations import annotate
from pipeline.packing.record import PackRecord
from pipeline.packing.settings import DatasetSettings, PackSettings
from pipeline.packing.sources.opening import open_npy_files
from pipeline.packing.writing import write_dataset
from pipeline.runtime.engine import Engine, Processes
from pipeline.runtime.parallel import default_workers
from pipeline.runtime.progress import progress_bar

_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Flags(MediaFlags, ForceFlags, PartFlags, WorkerFlags, PlacesFlags, DatasetSettings):
    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Video and sound files, folders or patterns. A file's name without its ending is the video's id."""
    backbones: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Backbone that makes a feature, repeatable: an .onnx file, keras:NAME, or the name of a known one. FEATURE=
    before it names the feature, which is rgb or audio otherwise."""
    backbone_option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """How the backbone of a feature is used, FEATURE.FIELD=VALUE, repeatable, for example rgb.mean=104,117,123; over
    what the JSON file beside it says."""
    fps: FPS = 1.0
    """Frames a second."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the files, the hours, and about how long it takes and how many bytes, and write nothing."""


def main() -> None:
    flags = parse_own_flags(Flags)
    load_av()
    paths, others = find_media(flags.files)
    if others:
        print(f"{counted(others, 'file')} of other kinds passed over")
    files = ids_of(paths)
    for id, path in files.items():
        if fault := id_fault(id):
            raise StageError(f"{path}: {id!r} cannot be a video's id: {fault}; rename it")
    fps = Fraction(flags.fps).limit_denominator(10_000)
    chosen = choose_backbones(flags.backbones, flags.backbone_option, flags.places.data_dir / FOLDER)
    recipes = {each.feature: Recipe(each.backbone, fps).text() for each in chosen}
    for each in chosen:
        if remark := usual_remark(each):
            print(remark, file=sys.stderr)
    if flags.dry_run:
        networks = [Network(each.backbone, each.path, default_workers()) for each in chosen]
        print(estimate(paths, networks, fps, flags.workers))
        return
    folder = flags.places.data_dir / flags.name
    settings = PackSettings(**{field.name: getattr(flags, field.name) for field in dataclasses.fields(DatasetSettings)})
    engine, preset = flags.ray_cluster() or Processes(flags.workers), None
    with contextlib.ExitStack() as locks:
        locks.enter_context(locked(folder, shared=bool(flags.part)))
        record = PackRecord.read(folder)
        before = None if flags.force else record
        if flags.labels:  # what is wrong with them is told before hours of work
            check_settings(settings, before)
            annotate(settings, list(files), None, before.class_names if before else None)
        store = Store(folder, recipes)
        key = digest_json([[id, *size_and_mtime(path)] for id, path in files.items()])
        if share := flags.share:
            locks.enter_context(_shared_store(store, share, flags.force))
            files = dict(share.chosen(list(files.items())))
        else:
            if flags.join:
                require_parts(store.folder, flags.join, key)
            store.open(flags.force)
        stored = _extract(flags, files, chosen, fps, store, engine)
        _tell(files, stored)
        if share:
            note_part(store.folder, share, key)
            print(f"{store.folder}: {share}, {counted(len(files), 'file')}")
        elif flags.labels:
            sources = _sources(flags, stored, store, list(recipes))
            found = dataset_of(sources, settings, before, made_by=list(recipes.values()))
            print("\n".join(found.summary()))
            preset = write_dataset(found, folder, engine, record)
    if preset:
        place = ["--preset", str(preset), "--data-dir", str(flags.places.data_dir)]
        call_stage("ingest", [*place, "--workers", str(flags.workers), *flags.engine_tokens()])
        print(f"\nto train on it: ./run_all.sh --preset {preset}")
    elif not flags.share:
        print("\nto make a dataset of them: the same command with --labels, as for pack")
    if (damaged := sum(bool(each.fault) for each in stored.values())) and not flags.drop_bad:
        raise StageError(
            f"{counted(damaged, 'file is', 'files are')} damaged: see above; what could be read is used. Copy or make "
            "them again, or leave them out with --drop-bad"
        )


@contextlib.contextmanager
def _shared_store(store: Store, part: Part, force: bool) -> Iterator[None]:
    """Open a store for a part of the files, together with those who extract others by the same recipes."""
    if not store.is_open():
        with locked(store.folder, patience=PATIENCE):  # by other recipes, the parts at work must end first
            store.open(force)
    with locked(store.folder, shared=True, patience=PATIENCE), locked(store.folder / str(part)):
        store.open(False)
        yield


def _extract(
    flags: Flags, files: dict[str, Path], chosen: list[Chosen], fps: Fraction, store: Store, engine: Engine
) -> dict[str, StoredFile]:
    """Extract the features that are not stored yet; return what is stored of each file, by its id."""
    stored = {id: found for id, path in files.items() if (found := store.find(id, path))}
    todo = [id for id in files if id not in stored]
    if stored:
        print(f"{counted(len(stored), 'file')} extracted already")
    if todo:
        for each in chosen:
            keep(each, flags.places.data_dir / FOLDER)
    if todo and engine.far:
        kept = flags.places.data_dir / FOLDER
        far = [each._replace(path=each.path and kept_at(kept, each.backbone)) for each in chosen]
        size = min(max(len(todo) // 100, 2), MOST)
        tasks = [[(id, files[id]) for id in todo[start : start + size]] for start in range(0, len(todo), size)]
        with progress_bar(total=len(todo), desc="extract", unit=" files") as bar:
            for done in engine.map(extract_files, tasks, shared=(Extraction(far, fps, store),)):
                stored |= done
                bar.update(len(done))
    elif todo:
        networks = [Network(each.backbone, each.path, default_workers()) for each in chosen]
        with progress_bar(total=len(todo), desc="extract", unit=" files") as bar:
            for extracted in extract([files[id] for id in todo], networks, fps, flags.workers):
                id = todo[extracted.number]
                stored[id] = store.write(id, files[id], extracted)
                bar.update()
    return {id: stored[id] for id in files}


def _tell(files: dict[str, Path], stored: dict[str, StoredFile]) -> None:
    """Name the files that are damaged, and what could be read of them."""
    damaged = []
    for id, path in files.items():
        if fault := stored[id].fault:
            read = counted(stored[id].frames, "frame") if stored[id].frames else "nothing"
            damaged.append(f"{path}: {fault}; {read} could be read")
    for told in first_lines(damaged, _LISTED, "and {} more, damaged too"):
        print(told, file=sys.stderr)


def _sources(flags: Flags, stored: dict[str, StoredFile], store: Store, features: list[str]) -> list:
    """Return where each feature of the files lies that are to be packed."""
    used = {id: each for id, each in stored.items() if each.frames and not (each.fault and flags.drop_bad)}
    if flags.missing == "leave_out":
        lacking = [id for id, each in used.items() if len(each.features) < len(features)]
        used = {id: each for id, each in used.items() if id not in lacking}
        if lacking:
            print(
                f"{counted(len(lacking), 'file')} without {' or '.join(features)} left out, such as {lacking[0]}; "
                "--missing zeros takes zeros in place of what is missing"
            )
    if not used:
        raise StageError("no file is left to make a dataset of: see above")
    return [
        open_npy_files(
            name,
            [store.place_of(name, id) for id, each in used.items() if name in each.features],
            [(id, each.frames) for id, each in used.items() if name not in each.features],
            flags.workers,
        )
        for name in features
    ]


if __name__ == "__main__":
    run_stage(main)
