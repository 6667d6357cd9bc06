"""The component that shows an answer, in a real Chromium, bundled as the app's build does it: finished answers."""
# ruff: noqa: F811  # pytest hands fixtures over by the names under which they are imported

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.answer_page import Server
from tests.browser.answer_page.fixtures import SOURCES, chromium, page, server, show, show_program  # noqa: F401

pytestmark = pytest.mark.browser

CHART: dict[str, Any] = {
    "kind": "line", "title": "Sea level", "x": [2000, 2010, 2020], "x_title": "Year", "y_title": "mm",
    "series": [{"name": "Satellite", "values": [1, 20, 45]}, {"name": "Gauge", "values": [2, 22, 40]}],
}  # fmt: skip


def test_html_from_a_model_is_shown_as_text_and_never_run(page: Page) -> None:
    hostile = [
        "<script>window.hit=1</script>", '<img src=x onerror="window.hit=1">', "<svg/onload=window.hit=1>",
        '<iframe srcdoc="<script>parent.hit=1</script>"></iframe>', "<style>*{display:none}</style>",
        '<a href="javascript:window.hit=1">x</a>', "<div onclick=window.hit=1>\n\n**bold**\n\n</div>",
        '$\\href{javascript:window.hit=1}{x}$ $\\htmlData{x=1}{y}$ $\\includegraphics{https://evil.example/x.png}$',
        "```html\n<script>window.hit=1</script>\n```", '`<img src=x onerror="window.hit=1">`',
    ]  # fmt: skip
    show(page, "\n\n".join(hostile))
    expect(page.locator(".katex").first).to_be_visible()
    expect(page.locator(".hljs-tag").first).to_be_visible()
    assert page.evaluate("window.hit") is None
    assert page.locator("#root :is(script, iframe, img, style, object, embed, form)").count() == 0
    assert page.locator("#root svg[onload], #root a[href^=javascript]").count() == 0
    expect(page.get_by_text("<script>window.hit=1</script>").first).to_be_visible()


def test_links_open_apart_and_unsafe_ones_and_pictures_are_not_followed(page: Page) -> None:
    show(page, "[good](https://example.org/a) [bad](javascript:alert(1)) [own](/settings) "
               "![pixel](https://tracker.example/p.gif) [![in](https://a.example/i.png)](https://b.example/)")
    links = page.locator("#root a")
    assert links.evaluate_all("all => all.map(a => [a.textContent, a.getAttribute('href'), a.target, a.rel])") == [
        ["good", "https://example.org/a", "_blank", "noopener noreferrer nofollow"],
        ["Image: pixel", "https://tracker.example/p.gif", "_blank", "noopener noreferrer nofollow"],
        ["Image: in", "https://b.example/", "_blank", "noopener noreferrer nofollow"],
    ]
    assert page.locator("#root img").count() == 0


def test_nothing_is_wider_than_a_phone_but_tables_code_and_formulas_scroll_in_themselves(page: Page) -> None:
    row = "| " + " | ".join(f"a longer cell {at}" for at in range(8)) + " |"
    formula = "$$\n" + " + ".join(f"\\frac{{a_{{{at}}}}}{{b}}" for at in range(40)) + "\n$$"
    long = "x" * 300
    show(page, f"{row}\n{'|--' * 8}|\n{row}\n\n{formula}\n\n```python\n{long}\n```\n\n{long}\n\n`{long}`",
         sources=[{"number": 1, "title": long, "url": f"https://example.org/{long}", "snippet": long}])
    expect(page.locator(".katex").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    scrolls = "all => all.map(one => one.scrollWidth > one.clientWidth && one.tabIndex === 0)"
    assert page.locator(".answer-scroll, .answer pre").evaluate_all(scrolls) == [True, True, True]


def test_prices_stay_text_and_formulas_are_set_with_fonts_of_our_own(page: Page, server: Server) -> None:
    fonts: list[str] = []
    page.on("response", lambda r: fonts.append(r.url) if r.request.resource_type == "font" else None)
    show(page, "It costs $5 and $10.")
    expect(page.get_by_text("It costs $5 and $10.")).to_be_visible()
    assert page.evaluate("performance.getEntriesByType('resource').some(r => r.name.includes('math'))") is False
    show(page, "The area is $\\pi r^2$, at $5.")
    expect(page.locator(".katex")).to_have_count(1)
    page.evaluate("document.fonts.ready")
    assert fonts
    assert all(url.startswith((server.url, "data:")) for url in fonts)


def test_a_citation_names_its_source_and_shows_the_title_on_focus(page: Page) -> None:
    show(page, "Shown [3], not [9], not `[3]`.", sources=SOURCES)
    chip = page.get_by_role("link", name="Source 3: Paper 3")
    expect(chip).to_have_count(1)
    assert chip.get_attribute("href") == "https://www.example.org/3"
    chip.focus()
    expect(page.locator(".answer-tip")).to_contain_text("Paper 3")
    page.keyboard.press("Escape")
    expect(page.locator(".answer-tip")).to_have_count(0)
    chip.hover()
    expect(page.locator(".answer-tip")).to_be_visible()
    expect(page.get_by_text("not [9], not")).to_be_visible()
    expect(page.locator("code")).to_have_text("[3]")


def test_a_long_list_of_sources_is_short_until_it_is_asked_for(page: Page) -> None:
    show(page, "x", sources=SOURCES)
    expect(page.locator(".answer-sources li")).to_have_count(4)
    page.get_by_role("button", name="Show all 7 sources").click()
    expect(page.locator(".answer-sources li")).to_have_count(7)
    page.locator("summary").first.click()
    expect(page.get_by_text("Says 1")).to_be_visible()


def test_copy_buttons_copy_code_and_the_whole_answer(page: Page) -> None:
    show(page, "See [1].\n\n```python\nx = 1\n```", sources=SOURCES[:1], price="$0.0042", priceNote="estimate")
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "x = 1"
    page.get_by_role("button", name="Copy answer").click()
    copied = "See [1].\n\n```python\nx = 1\n```\n\nSources:\n[1] Paper 1 https://www.example.org/1"
    page.wait_for_function("text => navigator.clipboard.readText().then(found => found === text)", arg=copied)
    expect(page.get_by_text("$0.0042 · estimate")).to_be_visible()


def test_a_program_shows_output_and_figures_and_keeps_its_code_folded(page: Page) -> None:
    figures = [{"chart": CHART}, {"url": "/api/figures/7", "alt": "A red square"}, {"url": "//evil.example/x.png"}]
    show_program(page, code="print(6 * 7)", output="42\n", figures=figures)
    expect(page.get_by_role("region", name="Output")).to_have_text("42\n")
    expect(page.get_by_text("print(6 * 7)")).to_be_hidden()
    page.get_by_text("Ran Python").click()
    expect(page.get_by_text("print(6 * 7)")).to_be_visible()
    assert page.get_by_role("img", name="A red square").get_attribute("src") == "/api/figures/7"
    assert page.locator("#root img").count() == 1
    chart = page.get_by_role("img", name="Line chart: Sea level. Shown: Satellite, Gauge.")
    expect(chart.locator(".recharts-line")).to_have_count(2)
    page.get_by_text("Data as a table").click()
    assert page.get_by_role("row").all_inner_texts() == [
        "Year\tSatellite\tGauge", "2000\t1\t2", "2010\t20\t22", "2020\t45\t40",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["line", "bar", "scatter", "pie", "area"])
def test_every_kind_of_chart_is_drawn(page: Page, kind: str) -> None:
    chart = {**CHART, "kind": kind, "x": ["a", "b", "c"], "series": CHART["series"][: 1 if kind == "pie" else 2]}
    show_program(page, figures=[{"chart": chart}])
    marks = {"line": "path.recharts-line-curve", "bar": ".recharts-bar-rectangle path", "pie": "path.recharts-sector",
             "scatter": ".recharts-scatter-symbol", "area": "path.recharts-area-curve"}  # fmt: skip
    count = {"line": 2, "bar": 6, "scatter": 6, "pie": 3, "area": 2}
    expect(page.locator(marks[kind])).to_have_count(count[kind])


def test_an_error_of_a_program_is_told_by_its_last_line(page: Page) -> None:
    error = "Traceback (most recent call last):\n  line 1\nZeroDivisionError: division by zero"
    show_program(page, code="1/0", status="failed", error=error)
    expect(page.get_by_text("ZeroDivisionError: division by zero").first).to_be_visible()
    expect(page.get_by_text("most recent call last")).to_be_hidden()


@pytest.mark.parametrize(("status", "says"), [
    ("stopped", "You stopped this answer."),
    ("interrupted", "This answer was interrupted; what had arrived is kept."),
    ("failed", "The model did not answer."),
])  # fmt: skip
def test_an_answer_that_did_not_end_well_says_so_and_keeps_its_text(page: Page, status: str, says: str) -> None:
    show(page, "What had arrived", status=status, error="The model did not answer." if status == "failed" else "")
    expect(page.get_by_text(says)).to_be_visible()
    expect(page.get_by_text("What had arrived", exact=True)).to_be_visible()


def test_what_cannot_be_shown_costs_its_own_part_only(page: Page) -> None:
    show(page, "Before", "> " * 8_000 + "deep", "After")
    expect(page.get_by_text("Before")).to_be_visible()
    expect(page.get_by_text("After")).to_be_visible()
