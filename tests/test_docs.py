"""The pages: each command on them is run, or said to be too long to; each flag, file, module and link is there."""

import contextlib
import functools
import importlib.util
import io
import itertools
import re
import runpy
import shlex
import shutil
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.support import ROOT, TINY, of_one_feature, run_here, stage_here

from pipeline.cli.stages import STAGES

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
BEGINS = ("./", "python ", ".venv/", ". .venv", "git ", "docker ", "pip ", "tools/", "learnable-pooling ", "srun ")
BEGINS += ("KERAS_BACKEND=", "PRESET=", "PIPELINE_WHEELS=", "PIPELINE_VENV=")
"""What an indented line is a command by."""
NOT_RUN = {
    "what makes the environment that this test runs in": (
        "git clone",
        "cd ",
        "./run_all.sh",
        "./run_tests.sh",
        ".venv/bin/uv sync",
        ".venv/bin/pre-commit",
        ".venv/bin/uv audit",
        ".venv/bin/python tools/licences.py",
        "tools/test_versions.sh",
        ". .venv/bin/activate",
        "docker",
    ),
    "needs a cluster; tests/runtime/test_engine.py starts one": (
        ".venv/bin/ray start",
        "python -m pipeline.ingest --preset youtube8m --engine ray",
    ),
    "needs a run of youtube8m; tests/inference/test_parts.py shares another one": (
        "python -m pipeline.infer --preset youtube8m --model netvlad --part",
        "python -m pipeline.infer --preset youtube8m --model netvlad --join",
    ),
    "tests/test_environment.py and tests/test_installed.py install and run the demo": (
        "pip install '.[tensorflow]'",
        "learnable-pooling run_all",
        "tools/fetch_wheels.sh",
        "PIPELINE_WHEELS=",
        "PIPELINE_VENV=",
    ),
    "needs videos and a backbone; tests/test_extract.py runs it on made ones": (
        "python -m pipeline.extract videos/",
        "python -m pipeline.predict videos/",
    ),
    "needs a network; tests/test_download.py runs its flags against servers with faults": (
        "python -m pipeline.download",
    ),
    "needs an account; tests/test_submit.py runs it against a server like Kaggle's": (
        "python -m pipeline.submit --preset youtube8m --kaggle",
    ),
    "needs a bucket; tests/test_submit.py runs it against the emulator": (
        "python -m pipeline.submit --preset audioset --upload",
    ),
    "opens a browser; tests/reporting/test_notebook.py runs the notebooks": ("PRESET=audioset RUN=netvlad jupyter",),
    "takes minutes to hours": ("python -m benchmarks.",),
    "tests/test_cost.py runs it": ("python -m pipeline.cost$",),
    "is what run_all says at its end": ("python -m pipeline.predict --preset demo --run netvlad FILE",),
    "starts on every node; tests/runtime/test_hosts.py starts hosts here": ("srun ",),
    "only lists": ("python -m pipeline$", "python -m pipeline.train --help"),
    "tests/models/test_contract.py trains it, too large for this test": (
        "python -m pipeline.train --model second_order",
    ),
    "tests/test_ingest.py appends shards": ("python -m pipeline.ingest --preset youtube8m --append",),
    "runs on what ./run_all.sh has trained; tests/test_predict.py and tests/test_submit.py do": (
        "python -m pipeline.predict new.npz --run runs/birds/ensemble",
        "python -m pipeline.predict --run runs/",
        "python -m pipeline.submit --preset data/clips/clips.py --check",
    ),
    "needs a process of its own; tests/test_end_to_end.py runs all on JAX": ("KERAS_BACKEND=jax",),
}
"""Beginnings of the commands that this file does not run, whole ones where a $ ends them, and why."""


class Command(NamedTuple):
    """A command of a page, without its comment."""

    page: Path
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def commands(page: Path) -> list[Command]:
    """Those of the indented lines of a page, each part of an `&&` by itself."""
    found = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if line.startswith("    ") and text.startswith(BEGINS):
            text = re.sub(r"\s{2,}# .*", "", text)
            found += [Command(page, number, part.strip()) for part in text.split("&&")]
    return found


EVERY = [command for page in PAGES for command in commands(page)]


def is_begun_by(command: Command, begin: str) -> bool:
    return f"{command.text}$".startswith(begin)


def why_not_run(command: Command) -> str | None:
    return next((why for why, begins in NOT_RUN.items() if any(is_begun_by(command, each) for each in begins)), None)


# ------------------------------------------------------------------------------------------------ what pages speak of


@functools.cache
def known_flags(module: str, *chosen: str) -> set[str]:
    """The flags that `--help` of a module lists, with the preset and the model that are given."""
    help_text, path = io.StringIO(), Path(importlib.util.find_spec(module).origin)
    path = path.with_name(path.name.replace("__init__", "__main__"))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(help_text):
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", [module, *chosen, "--help"])
        with pytest.raises(SystemExit, match=r"^0$"):
            runpy.run_path(str(path), run_name="__main__")
    return set(re.findall(r"--[a-z][a-z0-9.-]*", help_text.getvalue()))


def module_and_flags(words: list[str]) -> tuple[str, list[str]] | None:
    words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
    if words[0].endswith("/run_all.sh"):
        return "pipeline.run_all", [word for word in words[1:] if word != "--no-venv"]
    if words[0] == "learnable-pooling":
        return f"pipeline.{words[1]}", words[2:]
    return (words[2], words[3:]) if words[:2] == ["python", "-m"] else None


@pytest.mark.parametrize("command", EVERY, ids=str)
def test_flags_of_commands_are_there(command):
    asked = module_and_flags(command.words)
    if not asked or asked[0] == "pipeline":
        return
    module, arguments = asked
    assert importlib.util.find_spec(module), f"{command}: there is no module {module}"
    flags = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    chosen = []
    for flag in ("--preset", "--model"):
        if flag in flags and not (value := arguments[arguments.index(flag) + 1]).endswith(".py"):
            chosen += [flag, value]
    if flags:
        assert flags <= known_flags(module, *chosen), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_in_sentences_are_there(page):
    """`--flag` in backticks, of any stage; those of other programs have no place in our sentences."""
    everywhere = set().union(*(known_flags(f"pipeline.{stage}") for stage in STAGES))
    everywhere |= known_flags("pipeline.train", "--model", "second_order") | known_flags("benchmarks.run")
    sections = {flag[: flag.index(".") + 1] for flag in everywhere if "." in flag}
    everywhere |= sections | {"--cold", "--copies", "--no-venv"}  # of two benchmarks, of ./run_all.sh
    for quoted in re.findall(r"`([^`\n]*--[^`]*)`", page.read_text(encoding="utf-8")):
        benchmark = re.match(r"python -m (benchmarks\.\w+) ", quoted)
        known = known_flags(benchmark[1]) if benchmark else everywhere
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*", quoted):
            assert flag in known, f"{page.name}: {quoted}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}
            assert heading in slugs, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_are_named_are_there(page):
    text = page.read_text(encoding="utf-8").replace("pipeline/models/soft_max_pool.py", "")
    for name in re.findall(
        r"(?:pipeline|tests|benchmarks|notebooks|tools)/[\w/.-]+\.(?:py|csv|json|svg|sh|ipynb)", text
    ):
        assert (ROOT / name).exists(), f"{page.name}: {name}"
    for module in re.findall(r"`((?:pipeline|benchmarks)(?:\.\w+)+)`", text):
        assert importlib.util.find_spec(module), f"{page.name}: {module}"


def test_the_walks_name_files_that_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = text[text.index("## A prediction's way") :]
    rooms = "|".join(path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py"))
    named = re.findall(rf"\b((?:{rooms})/[\w/]+\.py)", walks)
    assert len(named) > 40
    for name in named:
        assert (ROOT / "pipeline" / name).exists(), name


def test_the_pages_name_every_stage_preset_and_model():
    from pipeline.models import FAMILIES
    from pipeline.presets import presets

    def of(name: str) -> str:
        return (ROOT / name).read_text(encoding="utf-8")

    for stage in STAGES:
        assert f"| `{stage}` |" in of("README.md") and f"| `{stage}` |" in of("docs/stages.md"), stage
    for family in FAMILIES:
        assert f"| `{family}` |" in of("docs/models.md") and f"| `{family}` |" in of("docs/results.md"), family
    for preset in set(presets()) - {"demo"}:
        assert f"--preset {preset}" in of("docs/data.md"), preset


def test_the_preset_of_the_page_on_data_is_one(tmp_path):
    from pipeline.packing.preset import Counts, preset_text
    from pipeline.presets import load_experiment

    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    by_hand = text[text.index('       """My clips') : text.index("   A feature has a name")]
    packed = text[text.index('    """vowels: lpc') : text.index("| line | means |")]
    for code, name in ((by_hand, "clips"), (packed, "vowels")):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        for model in ("average", "netvlad"):
            experiment = load_experiment(str(tmp_path / f"{name}.py"), model)
            assert experiment.dataset.name == name and experiment.model.family == model
    counts = Counts(classes=9, trained=270, longest=29, grouped=False, named=True, task="single_label")
    written = preset_text("vowels", "data/vowels/vowels.py", experiment.dataset.features, counts)
    assert textwrap.dedent(packed).strip() == written.strip()


def test_each_example_of_the_page_on_data_is_three_commands_and_no_code():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    examples = re.findall(r"^## Example: (.*)\n([^#]*)", text, re.MULTILINE)
    assert len(examples) == 3
    for title, example in examples:
        begun = [line for line in example.splitlines() if line.startswith("    ") and line.strip().startswith(BEGINS)]
        assert len(begun) == 3 and not any(" && " in command for command in begun), title
        assert not re.search(r"^ +(import|from|def) ", example, re.MULTILINE), title
        assert f"| [{title}](#example-{title.replace(' ', '-')}) | 0 | 3 |" in text


def test_every_page_is_in_the_index_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in {*PAGES} - {ROOT / "README.md", ROOT / "benchmarks" / "README.md"}:  # docs/performance.md names that
        assert f"({page.relative_to(ROOT)})" in readme, page


def test_the_extras_that_are_installed_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = [word for command in EVERY if "--extra" in command.text for word in command.words]
    named = [word for before, word in itertools.pairwise(asked) if before == "--extra"]
    assert len(named) >= 3 and set(named) <= set(extras)


# -------------------------------------------------------------------------------------------------- commands that run

READING_ORDER = (
    *("getting-started.md", "stages.md", "models.md", "ensembles.md"),
    *("submitting.md", "bundles.md", "archive.md", "results.md"),
)
"""Of the pages that have commands to run; later ones stand on what earlier ones made."""
PACK = [command for command in EVERY if command.text.startswith("python -m pipeline.pack ")]
RUN = [command for command in EVERY if not why_not_run(command) and command not in PACK]


def test_every_page_with_commands_is_run():
    assert {command.page.name for command in RUN} == set(READING_ORDER)


def test_nothing_is_said_to_be_too_long_that_no_page_has():
    for begins in NOT_RUN.values():
        for begin in begins:
            assert any(is_begun_by(command, begin) for command in EVERY), begin


@pytest.fixture(scope="module")
def own_files(tmp_path_factory):
    """A folder with the files that the pages pack; all of them hold the same videos."""
    folder = tmp_path_factory.mktemp("own_files")
    rng = np.random.default_rng(0)
    videos = {f"a{n:02}": rng.normal(size=(4, 3)).astype("<f4") for n in range(12)}
    for name in ("features/clip", "clips", "japanese_vowels/utterances", "recordings"):
        (folder / name).mkdir(parents=True)
    for id, video in videos.items():
        np.save(folder / "features" / "clip" / f"{id}.npy", video)
        np.save(folder / "clips" / f"{id}.npy", video)
        np.savez(folder / "japanese_vowels" / "utterances" / f"{id}.npz", lpc=video)
    for name in ("features/vggish.h5", "recordings/2024.h5"):
        with h5py.File(folder / name, "w") as file:
            for id, video in videos.items():
                file.create_dataset(id, data=video)
    np.savez(folder / "arrays.npz", np.stack(list(videos.values())))
    pq.write_table(pa.table({"recording": list(videos)}), folder / "meta.parquet")
    tables = {
        "labels.csv": ("recording,species", "owl", ""),
        "annotations.csv": ("file,species,site", '"owl, crow",north', "owl,south"),
        "splits.csv": ("id,split", "train", "test"),
        "japanese_vowels/utterances.csv": ("file,speaker,split", "speaker 1,train", "speaker 2,test"),
        "train_labels.csv": ("clip,labels", "owl;crow", "owl"),
    }
    for name, (head, *rows) in tables.items():
        lines = [head, *(f"{id},{rows[number % 2]}" for number, id in enumerate(videos))]
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", PACK, ids=str)
def test_pack_understands_every_command_of_a_page(command, own_files):
    """Up to what it would write: tests/test_pack.py writes every format."""
    arguments = command.words[3:]
    with contextlib.chdir(own_files):
        result = stage_here("pack", own_files, *arguments, *({"--dry-run"} - {*arguments}))
    assert result.returncode == 0, result.stderr
    assert "12, with 48 frames in all" in result.stdout


def in_world(world: Path, stage: str, *arguments: str, preset: str = "audioset") -> None:
    with contextlib.chdir(world):
        run_here(stage, world, *arguments, preset=f"{preset}.py")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A user's folder after both presets, shrunk to seconds, and with the files that pages name."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "demo.py").write_text(TINY.replace('name="tiny"', 'name="demo"'), encoding="utf-8")
    preset = of_one_feature(TINY.replace('name="tiny"', 'name="audioset"'))  # the pages train seven models of it
    (folder / "audioset.py").write_text(preset, encoding="utf-8")
    in_world(folder, "synthesize", preset="demo")
    in_world(folder, "ingest", preset="demo")
    for number, shard in enumerate(sorted(folder.glob("data/demo/raw/train/*.tfrecord"))):
        split = folder / "clips" / ("eval" if number < 2 else "train")  # the demo's own test split has no labels
        split.mkdir(parents=True, exist_ok=True)
        shutil.copy(shard, split)
    in_world(folder, "ingest", "--raw", "train=clips/train", "--raw", "eval=clips/eval")
    for model in ("average", "netvlad"):
        in_world(folder, "train", "--model", model)
        in_world(folder, "infer", "--model", model)
    in_world(folder, "ensemble")
    in_world(folder, "submit")
    (csv,) = folder.glob("submissions/audioset-*.csv")
    csv.rename(folder / "FILE.csv")
    shutil.copy(folder / "FILE.csv", folder / "sample_submission.csv")
    shutil.copy(shard, folder / "clip.tfrecord")
    values = np.random.default_rng(0).integers(256, size=(5, 8), dtype=np.uint8)
    np.savez(folder / "clip.npz", audio=values)
    return folder


@pytest.mark.wide
@pytest.mark.first
def test_the_commands_of_the_pages_run(world, capsys):
    for page in READING_ORDER:
        for command in (command for command in RUN if command.page.name == page):
            module, arguments = module_and_flags(command.words)
            preset = "demo"
            if "--preset" in arguments:
                place = arguments.index("--preset")
                preset = arguments[place + 1]
                del arguments[place : place + 2]
            with capsys.disabled():
                print(command, command.text)
            if module == "pipeline":
                continue
            in_world(world, module.removeprefix("pipeline."), *arguments, preset=preset)
