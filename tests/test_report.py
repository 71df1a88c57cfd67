"""The report as a user opens it: the stage, its page in a browser, and names that are not to be trusted."""

import html
import json
import re

import numpy as np
import pytest
from fixtures.made_up_runs import DATASET, give_model, make_index, make_run
from fixtures.support import name_classes, run_here

from pipeline.artifacts.files import write_json
from pipeline.artifacts.places import ENSEMBLE
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ClassifierConfig, Experiment, ModelConfig, NetVLADConfig, SamplingConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.inference.scoring import score_priors, scores_of
from pipeline.inputs.index import HOLDOUT
from pipeline.reporting.runs import best_of, diagnose, read_decisions, read_run
from pipeline.runtime.output import printable

HOSTILE = '<script>alert("1")</script> $x_1$ & \u202eabc\x1b[2J\x9b'
RUN = "a$b$ <i>&'\""
NETVLAD = ModelConfig("netvlad", NetVLADConfig((4, 2)), ClassifierConfig(hidden=4))
ORIGIN = {"ended": "2026-01-02T03:04:05+00:00", "git": {"commit": "c0ffee" * 6, "dirty": True}, "machine": "a <GPU>"}
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An index, three runs that nobody trained, one of them with a model as it begins, their ensemble, and names."""
    import keras

    from pipeline.models import build_model

    folder = tmp_path_factory.mktemp("report")
    index = make_index(folder)
    names = [f"{HOSTILE} ({label})" if label < 3 else f"name {label}" for label in range(DATASET.num_classes)]
    name_classes(index.folder, names)
    keras.utils.set_random_seed(0)
    for number, (name, noise) in enumerate({"netvlad": 2.0, RUN: 3.0, "average": 5.0}.items()):
        run = make_run(folder, index, name, noise)
        records = [{"step": step, "loss": 9 / step, "gap": 0.1 * number + 0.1 * step} for step in (1, 2, 3)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
        summary = {"parameters": 1_234_567, "steps": 3, "batch_size": 16, "examples_per_second": 1500.4}
        summary |= {"seconds": 125.0, "origin": ORIGIN} if name == "netvlad" else {}
        write_json(run / "summary.json", summary)
    run = folder / "runs" / "small" / "netvlad"
    config = to_dict(Experiment(DATASET, NETVLAD, SamplingConfig(evaluation="all")))
    sections = {name: config[name] for name in ("dataset", "sampling", "model", "training")}
    write_json(run / "config.json", {**sections, "inputs": {"index": index.digest}})
    give_model(run, build_model(NETVLAD, DATASET))
    run_here("ensemble", folder)
    run_here("threshold", folder, "--threshold.goal", "precision", "--threshold.value", 0.75)  # of the best, the blend
    run_here("report", folder)
    return folder


@pytest.fixture(scope="module")
def path(folder):
    return folder / "reports" / "small.html"


@pytest.fixture
def opened(browser, path, request):
    """The page at a size and in a scheme; and what it asked for and complained of."""
    width, height = SIZES[request.param[0]]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=request.param[1])
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    yield page, said
    context.close()


everywhere = pytest.mark.parametrize(
    "opened", [(size, scheme) for size in SIZES for scheme in ("light", "dark")], indirect=True, ids="-".join
)
on_a_phone = pytest.mark.parametrize("opened", [("phone", "light")], indirect=True, ids="-".join)

# ------------------------------------------------------------------------------------------------------- in a browser


@everywhere
def test_it_asks_for_nothing_complains_of_nothing_and_fits(opened):
    page, said = opened
    assert said == []
    inside, outside = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert inside == outside
    # What is wider than the page scrolls within itself, and can be reached by keyboard.
    cut = """[...document.querySelectorAll("main *, header *")].filter(each => !each.closest(".scroll, svg") &&
        each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(each => each.outerHTML)"""
    assert page.evaluate(cut) == []
    # The page's fonts may be wider than those that Matplotlib has measured.
    beyond = """[...document.querySelectorAll("figure svg text")].filter(each => {
        const [own, whole] = [each, each.ownerSVGElement].map(one => one.getBoundingClientRect());
        return own.left < whole.left - 3 || own.right > whole.right + 3 || own.bottom > whole.bottom + 3;
    }).map(each => each.textContent)"""
    assert page.evaluate(beyond) == []
    assert page.evaluate("document.querySelectorAll('.scroll:not([tabindex=\"0\"][aria-label])').length") == 0


@everywhere
def test_text_can_be_read_and_lines_can_be_seen(opened):
    """Contrast as WCAG 2.2 asks for: 4.5 of text, 3 of what is drawn."""
    page, _ = opened
    ratio = """name => {
        const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = text => text.match(/\\d+/g).slice(0, 3).map(v => linear(v / 255)).reduce(
            (sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const probe = document.createElement("i"); document.body.append(probe);
        probe.style.color = `var(--${name})`; const one = light(getComputedStyle(probe).color);
        const other = light(getComputedStyle(document.body).backgroundColor); probe.remove();
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) }"""
    for name, least in {"ink": 7, "muted": 4.5, "link": 4.5, **{f"c{n}": 3 for n in range(1, 8)}}.items():
        assert page.evaluate(ratio, name) >= least, name


@on_a_phone
def test_every_image_is_told_in_words(opened):
    page, _ = opened
    images = page.evaluate(
        """[...document.querySelectorAll("svg, img, canvas, picture, object, video, [role=img]")].map(each =>
        [each.getAttribute("aria-hidden"), each.getAttribute("role"), each.getAttribute("aria-label") || ""])"""
    )
    shown = [words for hidden, role, words in images if hidden != "true"]
    assert len(shown) >= 2 + 2 + 2 + 2 + 4 + 2 * 5  # curves, confidence, classes, groups, data, two of most videos
    assert all(role == "img" for hidden, role, _ in images if hidden != "true")
    assert all(len(words) > 30 for words in shown) and len(set(shown)) == len(shown)


@on_a_phone
def test_names_of_strangers_are_text(opened):
    page, said = opened
    assert said == [] and page.evaluate("document.scripts.length + document.querySelectorAll('i').length") == 0
    text = page.evaluate("document.body.textContent")
    assert printable(HOSTILE) in text and RUN in text
    assert printable(text) == text
    ids = page.evaluate("new Set([...document.querySelectorAll('[id]')].map(each => each.id)).size")
    assert ids == page.evaluate("document.querySelectorAll('[id]').length")
    targets = page.evaluate("[...document.querySelectorAll('nav a')].map(each => !!document.querySelector(each.hash))")
    assert len(targets) == 12 and all(targets)


@on_a_phone
def test_it_prints(opened, tmp_path):
    page, _ = opened
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 690, "height": 1000})  # A4 without its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 690
    assert page.pdf(path=tmp_path / "page.pdf", format="A4").startswith(b"%PDF")


# ------------------------------------------------------------------------------------------------------- what it says


def table(text: str, caption: str) -> list[list[str]]:
    """The cells of the table of a caption, row by row."""
    body = re.search(rf"<caption>{caption}.*?</table>", text, re.S)[0]
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows
    ]


@pytest.fixture(scope="module")
def index(folder):
    from pipeline.inputs.index import Index

    return Index.open(folder / "data" / "small" / "index")


@pytest.mark.parametrize("split", ["holdout", "test"])
def test_the_leaderboard_is_what_evaluate_says(folder, path, index, split):
    head, *rows = table(path.read_text(encoding="utf-8"), split)
    assert head[:6] == ["run", "GAP@20", "MAP", "Hit@1", "PERR", "MAP@20"]
    runs = {run.name: run for run in (folder / "runs" / "small").iterdir()}
    keys = ("gap", "map_all_kept", "hit_at_one", "perr", "map")
    stores = {name: PredictionStore(run / "predictions" / split) for name, run in runs.items()}
    expected = {name: scores_of(store, index, split).whole for name, store in stores.items()}
    expected["label priors"] = score_priors(index, split)
    found = {html.unescape(row[0]): row[1:6] for row in rows}
    assert found == {name: [f"{scores[key]:.4f}" for key in keys] for name, scores in expected.items()}
    gaps = [float(row[1]) for row in rows[:-1]]
    assert gaps == sorted(gaps, reverse=True) and rows[-1][0] == "label priors"
    of_netvlad = next(row for row in rows if row[0] == "netvlad")
    assert of_netvlad[6:] == ["1.23 M", "3", "16", "1,500"]


def test_it_looks_into_the_best_on_the_holdout(folder, path, index):
    runs = [read_run(run, index) for run in (folder / "runs" / "small").iterdir()]
    chosen = best_of(runs, HOLDOUT, "gap")
    text = path.read_text(encoding="utf-8")
    assert chosen.name == ENSEMBLE and "about the ensemble" in text
    found = diagnose(chosen, index, HOLDOUT)
    assert f"± {found.gap_error():.4f} standard error" in text
    assert f"holdout {found.all.reliability().error:.4f}" in text
    precisions = np.array(chosen.by_class[HOLDOUT]["average_precision"], float)
    of_holdout = text[text.index("<h3>holdout", text.index('id="classes"')) :]
    shown = table(of_holdout, "Best")[1]
    assert float(shown[1]) == pytest.approx(np.nanmax(precisions[found.positives >= 10]), abs=0.0006)


def test_what_was_tuned_on_what_is_said(path):
    text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
    assert "no model is trained on them, but they choose" in text and "Nothing was chosen by test" in text
    assert "tuned on one half of the hold-out, and are reported on the other" in text
    assert "has only 143 videos" in text or re.search(r"holdout has only \d+ videos", text)
    assert "Synthetic data" not in text


def test_the_headline_is_of_the_last_split_which_has_chosen_nothing(folder, path, index):
    scores = {
        split: scores_of(PredictionStore(folder / "runs" / "small" / ENSEMBLE / "predictions" / split), index, split)
        for split in (HOLDOUT, "test")
    }
    text = path.read_text(encoding="utf-8")
    lead = re.sub(r"\s+", " ", re.search(r'<p class="lead">(.*?)</p>', text, re.S)[1]).strip()
    whole = scores["test"].whole
    assert lead.startswith(
        f"GAP is {whole['gap']:.4f} on the {whole['videos']} videos of test, by which nothing was chosen."
    )
    assert f"On the hold-out, by which it was chosen, GAP is {scores[HOLDOUT].whole['gap']:.4f}." in lead
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)<small>", text))
    keys = {"GAP@20": "gap", "MAP": "map_all_kept", "Hit@1": "hit_at_one", "PERR": "perr"}
    assert facts == {
        **{f"{title}, test": f"{whole[key]:.4f}" for title, key in keys.items()},
        "GAP@20, holdout": f"{scores[HOLDOUT].whole['gap']:.4f}",
    }
    captions = re.findall(r"<caption>(\w+) <small>[\d,]+ videos", text)
    assert captions == ["test", HOLDOUT]


def test_it_says_when_and_where_runs_were_trained(path):
    text = path.read_text(encoding="utf-8")
    rows = re.findall(r"<tr.*?</tr>", text[text.index('id="origins"') : text.index('id="ensemble"')], re.S)
    cells = [
        [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows
    ]
    assert cells[1:] == [["netvlad", "2026-01-02 03:04 UTC", "2 min 5 s", "c0ffeec0f, changed", "a <GPU>"]]
    assert "last run trained 2026-01-02 03:04 UTC" in text


def test_it_says_what_thresholds_keep_where_nothing_was_chosen(folder, path):
    stored = json.loads((folder / "runs" / "small" / ENSEMBLE / "thresholds.json").read_text())
    text = path.read_text(encoding="utf-8")
    names = ("precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1")
    rows = {split: kept for split, *kept in table(text, "Where nothing was chosen")[1:]}
    assert rows == {
        split: [
            *(f"{kept[name]:.4f}" for name in names),
            f"{kept['labels']:.2f}",
            f"{100 * kept['without'] / kept['videos']:.0f} %",
        ]
        for split, kept in stored["kept"].items()
    }
    assert list(rows) == [HOLDOUT, "test"]
    assert "chosen on the hold-out for a precision of at least 0.75 of each class." in text
    rare = 30 - stored["classes"]["own"]
    assert (
        f"{rare} classes have fewer than 10 videos there: they take one shared threshold, {stored['shared']:.4f}."
        in text
    )
    assert "A precision of 0.75 was wanted; expect of new videos what is reached here." in text


def test_the_same_again_is_up_to_date(folder, path, capsys):
    content, modified = path.read_bytes(), path.stat().st_mtime_ns
    run_here("report", folder)
    assert f"{path}: up to date" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == modified and len(content) < 1_000_000
    assert str(folder).encode() not in content


@pytest.mark.wide
def test_what_changes_makes_it_anew_and_the_same_inputs_the_same_bytes(folder, path):
    before = path.read_bytes()
    run_here("report", folder, "--run", "netvlad", "--no-frames")
    text = path.read_text(encoding="utf-8")
    assert "by which it was chosen" not in text and "that this page looks into" not in text
    assert "about netvlad." in text and 'class="heat"' not in text and "<h1>netvlad on small</h1>" in text
    assert "thresholds of" not in text and "#thresholds" not in text, "it has none"
    log = folder / "runs" / "small" / "average" / "metrics.jsonl"
    kept = log.read_text()
    log.write_text(kept + '{"step": 4, "loss": 0.5}\n')
    run_here("report", folder, "--run", "netvlad", "--no-frames")
    assert "average 9.000 to 0.500" in path.read_text(encoding="utf-8")
    log.write_text(kept)
    run_here("report", folder)
    assert path.read_bytes() == before


def test_what_cannot_be_told_is_said(folder, path):
    for arguments, message in {
        ("--run", "nobody"): "is not a run; runs of preset small",
        ("--run", RUN, "--runs-dir", "elsewhere"): "is not a run",
        ("--runs-dir", "elsewhere"): "has no runs in elsewhere: run train",
    }.items():
        with pytest.raises(StageError, match=message):
            run_here("report", folder, *arguments)


# ------------------------------------------------------------------------------------------------------- other cases


@pytest.fixture
def bare(tmp_path):
    """An index alone."""
    return tmp_path, make_index(tmp_path)


def test_a_run_without_predictions_has_its_curves(bare):
    folder, index = bare
    run = folder / "runs" / "small" / "begun"
    write_json(run / "config.json", {"inputs": {"index": index.digest}})
    (run / "metrics.jsonl").write_text('{"step": 5, "loss": 3.0}\n{"step": 10, "loss": 2.0}\n')
    run_here("report", folder)
    text = (folder / "reports" / "small.html").read_text(encoding="utf-8")
    assert "nothing is scored yet" in text and "training loss by training step" in text
    assert 'id="data"' in text and 'id="classes"' not in text and "#classes" not in text


def test_an_ensemble_of_one_run_is_that_run(bare, capsys):
    """Its thresholds are those of other predictions, and left out."""
    folder, index = bare
    make_run(folder, index, "good", 2.0)
    run_here("threshold", folder)
    for name, noise in (("good", 1.0), ("bad", 9.0)):
        make_run(folder, index, name, noise)
    run_here("ensemble", folder, "--runs", "good", "bad", "--ensemble.given", "1", "0")
    run_here("report", folder, "--no-frames")
    text = (folder / "reports" / "small.html").read_text(encoding="utf-8")
    assert "<h1>good leads 2 runs on small</h1>" in text and "about good." in text
    fault = "thresholds.json was chosen from other predictions than good has now: run threshold --run good again"
    assert fault in capsys.readouterr().err and fault in text.replace("<wbr>", "") and 'id="thresholds"' not in text
    assert 'id="ensemble"' not in text and "#ensemble" not in text
    assert "The ensemble gave good all the weight: its predictions are those of good." in text
    assert [row[0] for row in table(text, "test")[1:]] == ["good", "ensemble", "bad", "label priors"]
    assert 'id="origins"' not in text and "#origins" not in text, "an earlier version did not note them"


def test_thresholds_that_are_out_of_date_are_left_out_and_so_is_what_they_kept_of_other_predictions(bare):
    folder, index = bare
    run = make_run(folder, index, "one", 2.0)
    assert read_decisions(read_run(run, index), index) == (None, "")
    run_here("threshold", folder)
    assert list(read_decisions(read_run(run, index), index)[0].kept) == [HOLDOUT, "test"]
    make_run(folder, index, "one", 3.0, ["test"])
    assert list(read_decisions(read_run(run, index), index)[0].kept) == [HOLDOUT]
    make_run(folder, index, "one", 4.0, [HOLDOUT])
    found, fault = read_decisions(read_run(run, index), index)
    assert found is None and "chosen from other predictions than one has now: run threshold --run one again" in fault


def test_synthetic_data_are_called_so(bare):
    folder, index = bare
    make_run(folder, index, "one", 2.0, splits=("test",))
    summary = json.loads((index.folder / "dataset.json").read_text())
    summary["dataset"]["synthetic"] = True
    write_json(index.folder / "dataset.json", summary)
    preset = folder / "small.py"
    preset.write_text(preset.read_text().replace("synthetic=False", "synthetic=True"))
    with pytest.raises(StageError, match="--no-frames leaves out what one looks at"):
        run_here("report", folder)
    run_here("report", folder, "--no-frames")
    text = (folder / "reports" / "small.html").read_text(encoding="utf-8")
    assert "Synthetic data.</strong> The scores show that the pipeline works" in text
    assert "one leads on small" in text and 'href="#ensemble"' not in text
