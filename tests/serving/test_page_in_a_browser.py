"""The page in Chromium: every answer on it is the server's, by mouse, keyboard, phone and reader."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from threading import Event
from typing import Any
from urllib.request import Request, urlopen

import pytest
from conftest import index_here, write_corpus
from page_server import MadeService, Vector, page_server
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from served import serving

import spladev3_anserini as splade
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.rankers.bm25 import bm25_rankings
from spladev3_anserini.serving.contract import SearchRequest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
expect.set_options(timeout=20_000)  # workers share two cores
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")

HOSTILE = "<img src=x onerror=alert(1)>/../?a=b#c&amp;"
TEXTS = {
    "jet": "A jet engine burns fuel in air",
    "glider": "A glider has no engine and stays up in rising air",
    "wing": "Air that flows over a wing gives it lift",
    HOSTILE: "<script>alert(2)</script> <b onclick=alert(3)>engine</b> engine",
    "x" * 300: "unbroken" * 60 + " lift",
}
VECTORS: dict[str, Vector] = {
    "jet": {"jet": 90, "engine": 80, "fuel": 60, "air": 20, "plane": 50},
    "glider": {"glider": 95, "air": 70, "engine": 40, "plane": 55, "rising": 30},
    "wing": {"wing": 99, "lift": 88, "air": 60, "plane": 45},
    HOSTILE: {"engine": 10, "<script>": 70},
    "x" * 300: {"lift": 7, **{f"term{number}": 1 + number for number in range(25)}},
}
ADDED = {"air": {"plane": 40, "<script>": 2}, "lift": {f"term{number}": 30 - number for number in range(25)}}


def weigh(text: str, variant: str) -> Vector:
    """A word's weight is ten times its letters; air and lift have expansions."""
    words = text.lower().split()
    own = {word: 1 if variant == "bow" else 10 * len(word) for word in words}
    added = {} if variant != "expand" else {
        term: weight for word in words for term, weight in ADDED.get(word, {}).items()}
    return added | own


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, MadeService]]:
    service = MadeService(TEXTS, VECTORS, weigh)
    with page_server(service) as address:
        yield address, service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Browser, served: tuple[str, MadeService]) -> Iterator[Callable[..., Page]]:
    """Opens an address of the page; at the end nothing may have failed or left the host."""
    wrong: list[str] = []
    with ExitStack() as stack:
        def opened(path: str = "/", failures: bool = False, address: str = served[0],
                   **settings: Any) -> Page:
            context = browser.new_context(base_url=address, **settings)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("request", lambda request: None if request.url.startswith(f"{address}/")
                    else wrong.append(request.url))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("dialog", lambda dialog: wrong.append(dialog.message))
            if not failures:
                page.on("console", lambda message: wrong.append(message.text))
            page.goto(path)
            return page

        yield opened
    assert wrong == []


def asked(address: str, **body: Any) -> list[tuple[str, float]]:
    """What the server itself says: ids and scores."""
    request = Request(f"{address}/search", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return [(hit["docid"], hit["score"]) for hit in json.load(answer)["hits"]]


def expect_hits(hits: Locator, expected: Sequence[tuple[str, float]]) -> None:
    expect(hits.locator("h3, .docid")).to_have_text([docid for docid, _ in expected])
    expect(hits.locator(".score")).to_have_text([
        f"{score:,.0f}" if score == int(score) else f"{score:.4f}" for _, score in expected])


def test_a_question_is_typed_and_the_hits_are_those_of_the_server(
        look: Callable[..., Page], served: tuple[str, MadeService]) -> None:
    page = look()
    expect(page.get_by_text("Ask a question.")).to_be_visible()
    expect(page.get_by_label("Question")).to_be_focused()
    page.get_by_label("Question").fill("engine air")
    page.get_by_role("button", name="Search").click()
    # 60 * 80 + 30 * 20 + 40 * 50 for jet, 60 * 40 + 30 * 70 + 40 * 55 for glider
    expected = [("jet", 7400), ("glider", 6700), ("wing", 3600), (HOSTILE, 740)]
    assert asked(served[0], query="engine air") == expected
    expect_hits(page.locator("#hits > li"), expected)
    expect(page.get_by_role("status")).to_have_text("4 hits")
    expect(page.locator("#terms .own .term")).to_have_text(["engine", "air"])
    expect(page.locator("#terms .added .term")).to_have_text(["plane", "<script>"])
    expect(page.locator("#terms .value")).to_have_text(["60", "30", "40", "2"])
    expect(page.locator("#hits > li").first.locator("mark")).to_have_text(["engine ", "air "])
    assert page.url.endswith("/?q=engine+air&index=index&variant=expand")
    expect(page).to_have_title("engine air · spladev3_anserini")


def test_a_term_that_is_switched_off_or_reweighed_changes_the_hits_at_once(
        look: Callable[..., Page], served: tuple[str, MadeService]) -> None:
    page = look("/?q=engine+air")
    page.get_by_role("checkbox", name="engine").uncheck()
    without = asked(served[0], impacts={"air": 30, "plane": 40, "<script>": 2})
    assert [docid for docid, _ in without] == ["glider", "wing", "jet", HOSTILE]
    expect_hits(page.locator("#hits > li"), without)
    expect(page.locator(".moved")).to_have_text(["up 1", "up 1", "down 2"])
    expect(page.get_by_role("status")).to_have_text("4 hits, 3 moved")
    page.get_by_role("slider", name="Weight of plane").press("ArrowLeft")
    expect_hits(page.locator("#hits > li"),
                asked(served[0], impacts={"air": 30, "plane": 39, "<script>": 2}))
    page.get_by_role("slider", name="Weight of plane").press("Home")
    expect(page.get_by_role("checkbox", name="plane")).not_to_be_checked()
    page.get_by_role("checkbox", name="plane").check()
    expect(page.locator("#terms .value").nth(2)).to_have_text("40")
    page.get_by_role("slider", name="Weight of plane").press("ArrowLeft")
    page.get_by_role("slider", name="Weight of engine").press("End")
    most = asked(served[0], impacts={"engine": 90, "air": 30, "plane": 39, "<script>": 2})
    expect_hits(page.locator("#hits > li"), most)
    page.reload()
    expect_hits(page.locator("#hits > li"), most)
    expect(page.locator("#terms .value")).to_have_text(["90", "30", "39", "2"])
    page.get_by_role("button", name="Reset weights").click()
    expect_hits(page.locator("#hits > li"), asked(served[0], query="engine air"))
    expect(page.get_by_role("button", name="Reset weights")).to_be_hidden()
    for name in ("engine", "air", "plane", "<script>"):
        page.get_by_role("checkbox", name=name).uncheck()
    expect(page.get_by_role("status")).to_have_text("Every term is switched off.")
    expect(page.locator("#hits > li")).to_have_count(0)


def test_a_score_is_explained_term_by_term(look: Callable[..., Page]) -> None:
    page = look("/?q=engine+air")
    page.get_by_role("button", name="Why this score: glider").click()
    panel = page.locator("#hits > li").nth(1).get_by_role("table")
    expect(panel.locator("tbody tr")).to_have_text(["engine60402,400", "plane40552,200", "air30702,100"])
    expect(panel.locator("tfoot td")).to_have_text("6,700")
    # with other weights it stays open and explains the score that is shown
    page.get_by_role("checkbox", name="engine").uncheck()
    first = page.locator("#hits > li").first
    expect(first.locator("h3")).to_have_text("glider")
    expect(first.locator("tfoot td")).to_have_text("4,300")
    expect(first.locator(".score")).to_have_text("4,300")
    expect(first.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Why this score: glider").click()
    expect(first.get_by_role("table")).to_have_count(0)


def test_a_document_shows_its_text_and_its_own_terms(look: Callable[..., Page]) -> None:
    page = look("/?q=lift")
    page.get_by_role("button", name="The document: wing").click()
    item = page.locator("#hits > li").filter(has=page.get_by_role("heading", name="wing"))
    expect(item.locator(".whole")).to_have_text(TEXTS["wing"])
    expect(item.locator(".own li")).to_have_text(["wing99", "lift88", "air60"])
    expect(item.locator(".added li")).to_have_text(["plane45"])
    # a long list is cut, and shown whole on demand
    expect(page.locator("#terms .added li:visible")).to_have_count(10)
    page.locator("#terms").get_by_role("button", name="Show all 25").click()
    expect(page.locator("#terms .added li:visible")).to_have_count(25)


def test_all_ways_to_ask_are_side_by_side(look: Callable[..., Page], served: tuple[str, MadeService]) -> None:
    page = look("/?q=engine+air")
    page.get_by_role("checkbox", name="engine").uncheck()
    page.get_by_role("button", name="Side by side").click()
    bodies: dict[str, dict[str, Any]] = {
        "your weights": {"impacts": {"air": 30, "plane": 40, "<script>": 2}},
        "expand": {"query": "engine air", "variant": "expand"},
        "lexical": {"query": "engine air", "variant": "lexical"},
        "bow": {"query": "engine air", "variant": "bow"},
        "bm25": {"query": "engine air", "index": "bm25"},
        "fused": {"query": "engine air", "fuse": ["index", "bm25"]}}
    columns = page.locator("#systems > section")
    expect(columns).to_have_count(len(bodies))
    for name, body in bodies.items():
        expect_hits(page.get_by_role("region", name=name).locator("li"), asked(served[0], **body))
    expect(page.get_by_role("region", name="expand").locator(".moved")).to_have_text(
        ["up 2", "down 1", "down 1"])
    columns.first.get_by_text("wing", exact=True).hover()
    expect(page.locator("li.same")).to_have_count(6)
    assert "view=compare" in page.url
    page.go_back()
    expect(columns.first).to_be_hidden()
    expect(page.locator("#hits > li").first).to_be_visible()


def test_other_weights_and_another_index_are_chosen(look: Callable[..., Page],
                                                    served: tuple[str, MadeService]) -> None:
    page = look("/?q=engine+air")
    page.get_by_label("Query weights").select_option("bow")
    expect_hits(page.locator("#hits > li"), asked(served[0], query="engine air", variant="bow"))
    expect(page.locator("#terms .value")).to_have_text(["1", "1"])
    page.get_by_role("combobox", name="Hits").select_option("5")
    page.get_by_role("combobox", name="Index").select_option("bm25")
    expect(page.get_by_text("BM25 counts the words")).to_be_visible()
    expect(page.locator("#terms input")).to_have_count(0)
    expect(page.get_by_role("button", name="Why this score")).to_have_count(0)
    assert page.url.endswith("/?q=engine+air&index=bm25&hits=5")


def test_the_back_button_and_a_reload_bring_a_question_again(
        look: Callable[..., Page], served: tuple[str, MadeService]) -> None:
    page = look()
    for question in ("engine", "lift", "lift"):
        page.get_by_label("Question").fill(question)
        page.keyboard.press("Enter")
        expect_hits(page.locator("#hits > li"), asked(served[0], query=question))
    page.reload()
    expect_hits(page.locator("#hits > li"), asked(served[0], query="lift"))
    page.go_back()  # once: a question that is asked twice is one place
    expect_hits(page.locator("#hits > li"), asked(served[0], query="engine"))
    expect(page.get_by_label("Question")).to_have_value("engine")
    page.go_back()
    expect(page.get_by_text("Ask a question.")).to_be_visible()
    expect(page.locator("#answer")).to_be_hidden()
    page.go_forward()
    expect_hits(page.locator("#hits > li"), asked(served[0], query="engine"))


def test_the_json_gives_the_same_hits_again(look: Callable[..., Page], served: tuple[str, MadeService]) -> None:
    page = look("/?q=engine+air", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("checkbox", name="engine").uncheck()
    page.get_by_text("Query as JSON").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    body = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert body == {"impacts": {"air": 30, "plane": 40, "<script>": 2}, "index": "index", "hits": 10}
    expect_hits(page.locator("#hits > li"), asked(served[0], **body))


@pytest.mark.fault(20, "an answer to the page's question before this one that comes late",
                   detected="a new question stops the requests of the last", then="dropped")
def test_an_answer_that_comes_late_is_dropped(look: Callable[..., Page], served: tuple[str, MadeService]) -> None:
    held, come, lift = Event(), Event(), asked(served[0], query="lift")

    def hold(request: SearchRequest) -> None:
        if request.query == "engine":
            come.set()
            held.wait(20)

    page = look()
    served[1].before_search = hold
    try:
        page.get_by_label("Question").fill("engine")
        page.keyboard.press("Enter")
        assert come.wait(20)
        page.get_by_label("Question").fill("lift")
        page.keyboard.press("Enter")
        expect_hits(page.locator("#hits > li"), lift)
    finally:
        held.set()
        served[1].before_search = lambda request: None
    page.wait_for_load_state("networkidle")
    expect_hits(page.locator("#hits > li"), lift)
    expect(page.locator("body")).to_have_attribute("aria-busy", "false")


@pytest.mark.fault(20, "a server that ends, or a proxy that answers in its place, while the page is open",
                   detected="the answer's status and form", then="one line on the page, and no old hits")
def test_errors_and_empty_answers_are_one_line(look: Callable[..., Page]) -> None:
    page = look("/?q=refuse", failures=True)
    expect(page.locator("#error")).to_have_text("the question is refused: ask another <b>one</b>")
    expect(page.locator("#answer")).to_be_hidden()
    page.get_by_label("Question").fill("nothing has this word")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("No document shares a term with this question.")
    expect(page.locator("#error")).to_be_hidden()
    page.route("**/search", lambda route: route.abort())
    page.get_by_role("checkbox", name="nothing").uncheck()
    expect(page.locator("#error")).to_have_text("The server does not answer. Is it still running?")
    expect(page.locator("#hits > li")).to_have_count(0)
    page.unroute("**/search")
    page.route("**/search", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.get_by_role("checkbox", name="nothing").check()
    page.get_by_role("checkbox", name="word").uncheck()
    expect(page.locator("#error")).to_have_text("The server answered 502; see its log.")


def test_hostile_texts_ids_and_questions_stay_text(look: Callable[..., Page]) -> None:
    page = look("/?q=engine+air+%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&weights=%7B%22__proto__%22%3A3")
    page.get_by_role("button", name=f"The document: {HOSTILE}").click()
    expect(page.locator(".whole")).to_have_text(TEXTS[HOSTILE])
    page.get_by_role("button", name=f"Why this score: {HOSTILE}").click()
    expect(page.locator("tbody th")).to_have_text(["engine", "<script>"])
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator("#systems [data-docid]")).to_have_count(20)
    assert page.locator("img, main script, b, [onclick], [onerror]").count() == 0
    page.goto("/?q=air&weights=%7B%22__proto__%22%3A3%7D")  # a term that the question has not
    expect(page.get_by_role("slider", name="Weight of __proto__")).to_have_value("3")
    page.get_by_text("Query as JSON").click()
    expect(page.locator("#body")).to_contain_text('"__proto__": 3')


def test_a_phone_never_scrolls_sideways(look: Callable[..., Page]) -> None:
    page = look("/?q=lift+engine+" + "w" * 120, viewport={"width": 390, "height": 844})
    for name in ("Why this score", "The document"):
        for button in page.get_by_role("button", name=name).all():
            button.click()
            expect(button).to_have_attribute("aria-expanded", "true")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_text("Query as JSON").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator("#systems [data-docid]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_all_of_it_works_by_keyboard(look: Callable[..., Page]) -> None:
    page = look()

    def tab_to(wanted: Locator, most: int = 20) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if wanted.evaluate("node => node === document.activeElement"):
                break
        expect(wanted).to_be_focused()
        assert wanted.evaluate("node => getComputedStyle(node).outlineStyle") != "none"

    expect(page.get_by_label("Question")).to_be_focused()
    page.keyboard.type("engine air")
    page.keyboard.press("Enter")
    expect(page.locator("#hits > li")).to_have_count(4)
    tab_to(page.get_by_role("checkbox", name="engine"))
    page.keyboard.press("Space")
    expect(page.locator("#hits h3").first).to_have_text("glider")
    tab_to(page.get_by_role("slider", name="Weight of plane"))
    page.keyboard.press("ArrowRight")
    expect(page.locator("#terms .value").nth(2)).to_have_text("41")
    expect(page.locator(".score").first).to_have_text(f"{30 * 70 + 41 * 55:,}")
    tab_to(page.get_by_role("button", name="Why this score: glider"))
    page.keyboard.press("Enter")
    expect(page.locator("tfoot td")).to_have_text(f"{30 * 70 + 41 * 55:,}")
    page.goto("/?q=engine")
    expect(page.locator("#hits > li")).to_have_count(3)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
  };
  return [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() &&
      [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())).map((node) => {
    const pair = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
    return [(pair[0] + .05) / (pair[1] + .05), node.tagName + "." + node.className];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_colour_schemes(look: Callable[..., Page], scheme: str) -> None:
    page = look("/?q=engine+air", color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("checkbox", name="engine").uncheck()
    page.get_by_role("button", name="Why this score: glider").click()
    page.get_by_role("button", name="The document: wing").click()
    expect(page.locator("table")).to_be_visible()
    expect(page.locator(".whole")).to_be_visible()
    expect(page.locator("body")).to_have_attribute("aria-busy", "false")
    dark = sum(map(int, re.findall(r"\d+", page.evaluate(
        "getComputedStyle(document.body).backgroundColor")))) < 200
    assert dark == (scheme == "dark")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 60
    # what is off is faint on purpose, and still readable
    assert [row for row in contrasts if row[0] < 4.5] == []


def test_a_screen_reader_finds_landmarks_names_and_headings(look: Callable[..., Page]) -> None:
    page = look("/?q=engine+air")
    expect(page.locator("#hits > li")).to_have_count(4)
    page.get_by_role("button", name="The document: jet").click()
    expect(page.locator(".whole")).to_be_visible()
    for role in ("banner", "main", "search", "contentinfo", "status"):
        expect(page.get_by_role(role)).to_have_count(1)
    for name in ("Query", "Hits"):
        expect(page.get_by_role("region", name=name, exact=True)).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"
    levels = [int(heading.evaluate("node => node.tagName[1]")) for heading in
              page.locator("h1, h2, h3").all()]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    tree = page.locator("body").aria_snapshot()
    assert re.search(r'slider "Weight of engine": "60"', tree)
    assert 'checkbox "engine" [checked]' in tree
    # none of what is operated is without a name
    assert not re.findall(r"^ *- (?:button|checkbox|slider|combobox|searchbox|link)(?!.*\")[^\n]*", tree, re.M)


def test_an_index_of_a_model_is_shown_as_the_commands_show_it(
        look: Callable[..., Page], demo_model: Path, tmp_path: Path) -> None:
    """A real index and BM25: what the API, Anserini and the arithmetic of RRF say is what is seen."""
    texts = {"wing": "Air that flows over a wing gives it lift.",
             "jet": "A jet engine burns fuel and pushes hot gas backwards.",
             "glider": "A glider has no engine and stays up in rising warm air."}
    corpus = write_corpus(tmp_path / "texts" / "corpus.jsonl", texts)
    index_here("JsonCollection", corpus.parent, tmp_path / "bm25", 1, ["-storeRaw", "-storePositions"], 3)
    question = "what keeps a plane in the air"
    with splade.load(demo_model).index(corpus, tmp_path / "index", store_texts=True) as index:
        weights, expected = index.impacts(question), [(hit.docid, hit.score) for hit in index.search(question)]
    (_, words), = bm25_rankings(str(corpus), [Topic("q", question, "")], 10, 0.9, 0.4, 1)
    ranks = [{docid: rank for rank, (docid, _) in enumerate(run, 1)} for run in (expected, words)]
    fused = {docid: sum(1 / (60 + run[docid]) for run in ranks if docid in run) for docid in texts}
    with serving({name: tmp_path / name for name in ("index", "bm25")}) as service, \
            page_server(service) as address:
        page = look(f"/?q={question.replace(' ', '+')}", address=address)
        expect_hits(page.locator("#hits > li"), expected)
        assert sorted(zip(page.locator("#terms .term").all_text_contents(),
                          page.locator("#terms .value").all_text_contents(), strict=True)) == sorted(
            (term, str(weight)) for term, weight in weights.items())
        first = page.locator("#hits > li").first
        first.get_by_role("button", name="Why this score").click()
        expect(first.locator("tfoot td")).to_have_text(f"{expected[0][1]:,.0f}")
        first.get_by_role("button", name="The document").click()
        expect(first.locator(".whole")).to_have_text(texts[expected[0][0]])
        expect(first.locator("mark").first).to_be_visible()
        page.get_by_role("button", name="Side by side").click()
        expect(page.locator("#systems > section")).to_have_count(5)
        expect_hits(page.get_by_role("region", name="bm25").locator("li"), words)
        expect_hits(page.get_by_role("region", name="fused").locator("li"),
                    sorted(fused.items(), key=lambda hit: (-hit[1], hit[0])))


def test_the_page_is_plain_files_that_ask_nobody_else() -> None:
    page = files("spladev3_anserini.serving").joinpath("page")
    texts = {file.name: file.read_text("utf-8") for file in page.iterdir()}
    assert texts.keys() == {"index.html", "page.css", "page.js", "icon.svg"}
    for name, text in texts.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(", text), name
        assert not re.search(r"https?://|@import|url\(", text.replace("http://www.w3.org/2000/svg", "")), name
    html = texts["index.html"]
    assert not re.search(r"<style|\bstyle=|\bon\w+=|<script(?! type=\"module\" src=)", html)
    assert sum(len(text) for text in texts.values()) < 50_000
