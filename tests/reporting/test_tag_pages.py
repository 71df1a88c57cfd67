"""Pages of tags over time as a browser shows them."""

import base64

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.inference.windows.intervals import find_intervals
from pipeline.inference.windows.times import WindowSettings
from pipeline.reporting.tag_pages import tag_pages
from pipeline.reporting.tag_values import SeenVideo, Tagging

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
