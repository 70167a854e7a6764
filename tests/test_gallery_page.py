"""The gallery in a real browser: regions light up, filters hide, search finds, hostile text runs nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from gallery_dataset import (
    BARE,
    EVIL,
    LONG,
    ODD,
    GalleryFolder,
    make_gallery,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page


@pytest.fixture(scope="module")
def gallery_folder(tmp_path_factory: pytest.TempPathFactory) -> GalleryFolder:
    return make_gallery(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium that is installed on the machine."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no Chromium; install one (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, gallery_folder: GalleryFolder) -> Iterator[Page]:
    """The opened gallery. Afterwards: no complaint on the console, no dialog, nothing asked of any network."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def dismiss(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("request", lambda r: None if r.url.startswith("file://") else wrong.append(r.url))
    page.goto((gallery_folder.out / "index.html").as_uri())
    page.wait_for_selector(".thumb")
    yield page
    assert page.evaluate("window.hacked") is None
    context.close()
    assert wrong == []


def open_image(page: Page, number: int) -> None:
    page.evaluate(f"location.hash = '#/image/{number}'")
    page.wait_for_selector("article")


def lit(page: Page, selector: str) -> list[str]:
    """The texts of the elements that light up."""
    return page.eval_on_selector_all(f"{selector}.lit", "nodes => nodes.map(n => n.textContent)")


def lit_regions(page: Page, selector: str) -> list[int]:
    return page.eval_on_selector_all(f"{selector}.lit", "nodes => nodes.map(n => Number(n.dataset.region))")


def test_hovering_a_box_lights_up_its_words_and_its_node(page: Page) -> None:
    open_image(page, 0)
    page.hover("rect.box[data-region='2']")
    assert lit(page, ".merged span") == ["a red star"]
    assert lit_regions(page, ".tree li") == [2]
    assert page.text_content(".said") == "level 2 object, rpn: own words of 0"
    page.hover("rect.box[data-region='1']", position={"x": 3, "y": 3})
    assert lit(page, ".merged span") == ["a table at the top left.", "the table has ", " and ", "."]  # its sentences
    page.hover("h1")
    assert lit(page, ".merged span") == lit_regions(page, "rect.box") == []


def test_hovering_words_or_a_node_lights_up_the_box(page: Page) -> None:
    open_image(page, 0)
    page.hover(".merged span:text-is('a sign')")
    assert lit_regions(page, "rect.box") == lit_regions(page, ".tree li") == [3]
    page.hover(".merged span:text-is('a table at the top left.')")
    assert lit_regions(page, "rect.box") == [1]
    page.hover(".tree li[data-region='2'] .text")
    assert lit_regions(page, "rect.box") == [2] and lit(page, ".merged span") == ["a red star"]
    page.hover(".plain-list li:has-text('contradiction')")
    assert lit_regions(page, "rect.box") == [2]


def test_a_click_keeps_the_light_until_escape(page: Page) -> None:
    open_image(page, 0)
    page.click("rect.box[data-region='2']")
    page.hover("h1")
    assert lit(page, ".merged span") == ["a red star"]
    page.keyboard.press("Escape")
    page.hover(".where")
    assert lit(page, ".merged span") == []


def test_boxes_and_tree_work_by_keyboard(page: Page) -> None:
    open_image(page, 0)
    page.focus(".tree li[data-region='0']")
    page.keyboard.press("ArrowDown")
    assert lit_regions(page, "rect.box") == [1]
    page.keyboard.press("ArrowLeft")  # folds the table
    page.keyboard.press("ArrowDown")  # nothing below it any more
    assert lit_regions(page, "rect.box") == [1] and not page.is_visible(".tree li[data-region='2']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert lit_regions(page, "rect.box") == [2]
    page.focus("rect.box[tabindex='0']")
    page.keyboard.press("ArrowLeft")
    assert lit_regions(page, ".tree li") == [3]


def pick(page: Page, group: str, text: str) -> None:
    page.eval_on_selector("#filters", "d => { d.open = true }")
    page.click(f".group.{group} .chip:has-text('{text}')")


def test_filters_hide_boxes_and_narrow_the_overview(page: Page) -> None:
    pick(page, "source", "ocr")
    page.wait_for_selector("#status:has-text('1 found in 3 of 3 images')")
    assert page.locator(".thumb").count() == 1
    page.click(".thumb")
    page.wait_for_selector("article")
    visible = [k for k in range(4) if page.is_visible(f"rect.box[data-region='{k}']")]
    assert visible == [0, 3]  # the whole image is no candidate of any proposer
    assert page.locator(".tree li.off").count() == 2
    page.click(".clear")
    assert all(page.is_visible(f"rect.box[data-region='{k}']") for k in range(4))


def test_rejected_candidates_appear_dashed_when_their_reason_is_picked(page: Page) -> None:
    open_image(page, 0)
    assert page.locator("rect.gone").count() == 1 and not page.is_visible("rect.gone")
    pick(page, "reason", "nms")
    assert page.is_visible("rect.gone")
    boxes = page.eval_on_selector(
        "rect.gone", "r => [r.getAttribute('x'), r.getAttribute('width'), getComputedStyle(r).strokeDasharray]"
    )
    assert boxes == ["130", "70", "6px, 4px"]


@pytest.mark.parametrize(
    ("words", "name"),
    [("RED STAR", "nano.png"), ("pattern striped", "nano.png"), ("milk", "nano.png"), ("bare", "bare.png")],
)
def test_search_finds_descriptions_questions_ocr_and_names(page: Page, words: str, name: str) -> None:
    page.fill("#search", words)
    page.wait_for_selector("#status:has-text('1 found in 3 of 3 images')")
    assert page.locator(".thumb .name").all_text_contents() == [name]


def test_search_without_a_hit_says_so(page: Page) -> None:
    page.fill("#search", "zebra")
    page.wait_for_selector("#main:has-text('Nothing found.')")
    assert page.locator(".thumb").count() == 0


def test_hostile_text_is_shown_word_for_word_and_runs_nowhere(page: Page) -> None:
    nul = ODD  # JSON carries it whole
    assert page.locator(".thumb .name").nth(1).text_content() == f"../{EVIL}\n{nul}"
    open_image(page, 1)
    assert page.text_content(".merged") == EVIL + nul
    assert page.text_content(".tree li > .node .text") == EVIL + nul + LONG
    assert page.locator("dd").first.text_content() == f"{nul}0.50"
    assert page.locator("dt").first.text_content() == EVIL
    assert page.locator("article img, article script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("location.hash = '#/rejected/0'")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr td:nth-child(2)").all_text_contents() == [EVIL, BARE]


def test_pages_turn_and_images_lead_on(page: Page) -> None:
    page.locator(".pager a:has-text('2')").first.click()
    page.wait_for_selector(".thumb .name:has-text('bare.png')")
    page.click(".thumb")
    page.wait_for_selector("article")
    assert page.text_content(".split .tree, .split .side .none") == "None yet."
    page.click("text=← Previous")
    page.wait_for_selector("h2:has-text('window.hacked')")
    page.click("text=All images")
    page.wait_for_selector(".thumb .name:has-text('bare.png')")  # back on the page one came from


def test_nothing_overflows_on_a_phone_and_statistics_show(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for place in ("#/page/0", "#/image/0", "#/image/1", "#/rejected/0"):
        page.evaluate(f"location.hash = '{place}'")
        page.wait_for_function(
            "place => location.hash === place && document.querySelector('#main').children.length", arg=place
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
    page.click("text=Statistics")
    page.wait_for_selector("h2:has-text('Caption length')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_filter_picked_while_a_search_runs_has_the_last_word(page: Page) -> None:
    page.fill("#search", "zebra")
    page.wait_for_timeout(260)  # the search has begun
    pick(page, "kind", "text")
    page.fill("#search", "")
    page.wait_for_selector("#status:has-text('1 found in 3 of 3 images')")
    assert page.locator(".thumb .name").all_text_contents() == ["nano.png"]


def test_a_data_file_that_is_missing_is_told(browser: Browser, gallery_folder: GalleryFolder, tmp_path: Path) -> None:
    shutil.copytree(gallery_folder.out, tmp_path / "g")
    (tmp_path / "g/data/images-00000.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "g/index.html").as_uri() + "#/image/0")
    page.wait_for_selector("#status:has-text('data/images-00000.js: not loaded; copy the whole folder')")
    page.close()


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine, and the paths that it was asked for."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(204)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", requests
        httpd.shutdown()


def test_the_policy_forbids_inline_handlers_and_the_network(
    browser: Browser, gallery_folder: GalleryFolder, server: tuple[str, list[str]]
) -> None:
    """Were a text to become markup after all, the page's policy still stands before it; a bare page has none."""
    url, requests = server
    attack = """async ([html, url]) => {
        document.body.insertAdjacentHTML("beforeend", html);
        await fetch(url + "/fetch").catch(() => 0);
        await new Promise((done) => setTimeout(done, 300));
        return window.hacked ?? null;
    }"""
    html = f"<img src='data:,' onerror='window.hacked=1'><img src='{url}/image'>"
    page = browser.new_page()
    assert page.evaluate(attack, [html, url]) == 1 and sorted(requests) == ["/fetch", "/image"]
    requests.clear()
    for name in ("index.html", "statistics.html"):
        page.goto((gallery_folder.out / name).as_uri())
        assert page.evaluate(attack, [html, url]) is None and requests == []
    page.close()
