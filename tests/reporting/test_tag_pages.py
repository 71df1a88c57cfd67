"""Pages of tags over time as a browser shows them; what their curves, times and marks say."""

import base64

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.inference.intervals import find_intervals
from pipeline.inference.windows import WindowSettings
from pipeline.reporting import tag_pages as module
from pipeline.reporting.tag_pages import SeenVideo, Tagging, clock, most_counting, tag_pages

HOSTILE = '<script>alert("1")</script> & \'"'
NAMES = ["guitar", "dog", f"hall {HOSTILE}", "kitchen"]
SETTINGS = WindowSettings(10, 5)
TAGGING = Tagging("a run", NAMES, SETTINGS, np.full(4, 0.5))
PICTURE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgy"
    "PC4zNDL/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AKp//2Q=="
)
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


def seen(id: str, said: bool = True, pictures: int = 30) -> SeenVideo:
    """190 seconds with a guitar at 22.5 - 42.5 and 152.5 - 162.5, and a hall at 62.5 - 67.5."""
    windows = SETTINGS.of(190)
    scores = np.full((len(windows), 4), 0.1)
    middles = windows.middles()
    if said:
        scores[(middles >= 22.5) & (middles <= 42.5), 0] = 0.9
        scores[(middles >= 152.5) & (middles <= 162.5), 0] = 0.8
        scores[(middles >= 62.5) & (middles <= 67.5), 2] = 0.7
    shares = np.ones(190)
    shares[[100, 101, 20]] = 9, 8, 4
    intervals = find_intervals(scores, windows, TAGGING.thresholds)
    thumbnails = [(190.0 * n / pictures, PICTURE) for n in range(pictures)]
    return SeenVideo(id, "the file", windows, scores, intervals, shares / shares.sum(), thumbnails)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    with tag_pages(folder / "one.html", False, TAGGING) as pages:
        pages.add(seen(HOSTILE))
        pages.write()
    with tag_pages(folder / "all # 1.html", True, TAGGING) as pages:
        pages.add(seen("a/b"))
        pages.add(seen("a_b", said=False, pictures=0))
        pages.add(seen(HOSTILE, said=False))
        pages.write()
    return folder


@pytest.fixture
def opened(browser, folder, request):
    """A page at a size and in a scheme; and what it asked for and complained of."""
    name, size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    path = folder / name
    page.on("request", lambda asked: None if asked.url.startswith("data:") else said.append(asked.url))
    page.goto(path.as_uri())
    assert said == [path.as_uri()]
    yield page, said
    context.close()


on = pytest.mark.parametrize
everywhere = on(
    "opened",
    [
        *((name, size, "light") for name in ("one.html", "all # 1.html", "all # 1/a_b-2.html") for size in SIZES),
        ("one.html", "phone", "dark"),
        ("all # 1.html", "desktop", "dark"),
    ],
    indirect=True,
    ids="-".join,
)


@everywhere
def test_it_asks_for_nothing_complains_of_nothing_and_fits(opened):
    page, said = opened
    inside, outside = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert inside == outside and len(said) == 1
    small = """[...document.querySelectorAll("button, input, .chips a")].filter(each => each.offsetParent &&
        each.getBoundingClientRect().height < 24).map(each => each.outerHTML.slice(0, 80))"""
    assert [each for each in page.evaluate(small) if "<img" not in each and "picture" not in each] == []
    unnamed = """[...document.querySelectorAll("button, input, img")].filter(each => each.offsetParent &&
        !(each.ariaLabel || each.labels?.length || each.alt !== undefined)).length"""
    assert page.evaluate(unnamed) == 0


@on("opened", [("one.html", "phone", "light")], indirect=True)
def test_the_time_is_chosen_by_keys_and_by_touch(opened):
    page, said = opened
    time, shown = page.locator("#time"), page.locator("#shown")
    assert shown.text_content() == "0:25"  # the best window's middle
    time.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown.text_content() == "0:26"
    page.keyboard.press("End")
    assert shown.text_content() == "3:10" and time.get_attribute("aria-valuetext") == "3:10"
    assert page.evaluate("lanes.style.getPropertyValue('--at')") == "100%"
    bars = page.locator(".lane:not(.weights) .bars button")
    assert bars.count() == 3
    bar = page.get_by_role("button", name="guitar from 2:32.5 to 2:42.5, up to 80 % at 2:35")
    bar.focus()
    page.keyboard.press("Enter")
    assert shown.text_content() == "2:35" and page.locator("[data-tag='0']").text_content() == "80 % here"
    bars.last.click()
    assert shown.text_content() == "1:05" and page.locator("[data-tag='1']").text_content() == "70 % here"
    assert page.locator("#frame").get_attribute("alt") == "the picture at 1:03.3"
    page.get_by_role("button", name="the frame at 1:40.5 counts 8.").click()
    assert shown.text_content() == "1:40.5" and len(said) == 1
    assert page.locator("h1").text_content() == HOSTILE
    assert f"hall {HOSTILE}" in page.locator("tbody").text_content()


@on("opened", [("all # 1.html", "desktop", "light")], indirect=True)
def test_an_index_is_searched_and_leads_to_the_pages(opened):
    page, _ = opened
    count, shown = page.locator("#count"), page.locator(".results > li:visible")
    assert count.text_content() == "3 videos" and shown.count() == 3
    page.get_by_label("Search tags and names of videos").fill("GUIT hall")
    assert count.text_content() == "1 of 3 videos" and shown.locator("h2").text_content() == "a/b 3:10"
    page.locator("#search").fill("a_b")
    assert shown.locator("h2").text_content() == "a_b 3:10" and "no tag" in shown.text_content()
    page.get_by_role("link", name="a_b").click()
    assert page.locator("h1").text_content() == "a_b" and "No tag is sure enough" in page.content()
    assert page.locator(".lane h3").count() == 3 and page.locator(".lane:not(.weights) .bars button").count() == 0
    page.get_by_role("link", name="All videos").click()
    assert page.locator("h1").text_content() == "3 videos"


def test_a_folder_of_other_files_is_not_mixed_with_pages(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    with (
        pytest.raises(StageError, match=r"--page .*videos.html: what is said .*a.mp4 is none of them"),
        tag_pages(tmp_path / "videos.html", True, TAGGING),
    ):
        pass


def test_what_a_killed_command_left_in_the_folder_is_no_other_file(tmp_path):
    (tmp_path / "videos").mkdir()
    for name in (".a.html.x0123abcd.part", "..a.html.x0123abcd.part.lock", ".DS_Store"):
        (tmp_path / "videos" / name).touch()
    with tag_pages(tmp_path / "videos.html", True, TAGGING):
        pass


def test_times():
    assert [clock(at) for at in (0, 5, 7.5, 59.96, 61, 3599.97, 3723, 36000)] == [
        *("0:00", "0:05", "0:07.5", "1:00", "1:01", "1:00:00", "1:02:03", "10:00:00"),
    ]


def test_frames_that_count_most_are_apart():
    shares = np.ones(190)
    shares[[100, 101, 20, 150]] = 9, 8, 4, 1.2
    assert most_counting(shares) == [20, 100]
    assert most_counting(np.ones(10)) == []
    assert len(most_counting(np.random.default_rng(0).random(5000))) == 5


def test_curves_go_from_end_to_end_and_keep_peaks():
    def points(places, values):
        return [[*map(float, each.split())] for each in module._points(np.array(places), np.array(values)).split("L")]

    assert points([0.25, 0.75], [0.5, 1]) == [[0, 50], [250, 50], [750, 0], [1000, 0]]
    values = np.zeros(5000)
    values[1234] = 1
    many = points(np.arange(0.5, 5000) / 5000, values)
    assert len(many) == 1002 and min(down for _, down in many) == 0
    assert [across for across, _ in many] == sorted(across for across, _ in many)


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00.4"), (32, "0:32"), (190, "3:10"), (4000, "1:06:40")])
def test_the_ruler_has_few_marks_that_do_not_meet(seconds, told):
    ticks = list(module._ticks(seconds))
    assert 2 <= len(ticks) <= 7 and ticks[0]["left"] == 0 and clock(ticks[-1]["seconds"]) == told
    assert min(np.diff([tick["left"] for tick in ticks])) > 9
