"""The rules of answers that need no browser: run in node, on the component's own modules."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.answer_page import COMPONENTS, NODE, node_modules


def run(module: Path, expression: str, *values: Any) -> Any:
    """What `expression` gives with the module's exports as `m` and `values` as `v`."""
    script = f"""
        import * as m from {json.dumps(module.as_uri())};
        const v = {json.dumps(values)};
        console.log(JSON.stringify({expression}) ?? "null");
    """
    done = subprocess.run(
        [NODE, "--input-type=module", "--no-warnings", "-"], input=script, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def text(expression: str, *values: Any) -> Any:
    return run(COMPONENTS / "answer_text.js", expression, *values)


def stream(expression: str, *values: Any) -> Any:
    return run(COMPONENTS / "answer_stream.js", expression, *values)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lexing module beside the packages it imports."""
    folder = tmp_path_factory.mktemp("blocks")
    for name in ("answer_blocks.js", "answer_text.js"):
        shutil.copy(COMPONENTS / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(node_modules())
    return folder / "answer_blocks.js"


def test_only_absolute_web_and_mail_addresses_become_links() -> None:
    safe = ["https://example.org/a?b=c", "http://example.org/", "mailto:a@example.org"]
    unsafe = [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)",
        "\x01javascript:alert(1)", "&#106;avascript:alert(1)", "javascript&colon;alert(1)", "data:text/html,<b>x</b>",
        "vbscript:x", "file:///etc/passwd", "blob:https://example.org/1", "//example.org", "/settings", "?a=b", "#top",
        "", "https://", None,
    ]  # fmt: skip
    assert text("v[0].map((one) => m.safeUrl(one))", safe) == safe
    assert text("v[0].map((one) => m.safeUrl(one))", unsafe) == [None] * len(unsafe)


def test_figures_are_loaded_from_our_own_routes_only() -> None:
    paths = ["/api/figures/1", "//evil.example/x.png", "/\\evil.example/x.png", "https://evil.example/x", "data:x", ""]
    found = text("v[0].map((path) => m.figureUrl('https://api.example.org/', path))", paths)
    assert found == ["https://api.example.org/api/figures/1", None, None, None, None, None]


@pytest.mark.parametrize("prose", [
    "$5 and $10", "$5/$10", "$5-$10 each", "$5 a month, or 50$", "$PATH:$HOME", "$ 5 $", "$$", "$", "$20.00",
    "$1,000 to $2,000", "\\[sic\\]", "$x\n\ny$",
])  # fmt: skip
def test_prices_and_shell_variables_are_no_formulas(prose: str) -> None:
    assert text("m.formulaAt(v[0])", prose) is None


@pytest.mark.parametrize(("source", "tex", "display"), [
    ("$x$", "x", False), ("$n$th", "n", False), ("$a_1 + b_2$ rest", "a_1 + b_2", False),
    ("$10x + 5 = 20$", "10x + 5 = 20", False), ("$3 \\text{ apples}$", "3 \\text{ apples}", False),
    ("$\\$5$", "\\$5", False), ("$$a\nb$$", "a\nb", True), ("\\(a*b*c\\)", "a*b*c", False),
    ("\\[a^2\\]", "a^2", True), ("$5, 6, 7$", "5, 6, 7", False),
])  # fmt: skip
def test_formulas_are_found(source: str, tex: str, display: bool) -> None:
    found = text("m.formulaAt(v[0])", source)
    assert (found["tex"], found["display"]) == (tex, display)


def test_a_dollar_within_a_word_begins_no_formula() -> None:
    assert text("v[0].map((one) => m.formulaStart(one))", ["US$5 and AU$6", "\\$x$y", "a $x$"]) == [-1, -1, 2]


def test_citations_name_one_or_several_sources_and_links_are_none() -> None:
    cases = ["[3]", "[1, 4] x", "[2-4]", "[2–3]", "[3](https://example.org)", "[4-2]", "[1-900]", "[a]", "[]", "3"]
    found = text("v[0].map((one) => m.citationAt(one)?.numbers ?? null)", cases)
    assert found == [[3], [1, 4], [2, 3, 4], [2, 3], None, None, None, None, None, None]


def test_character_references_are_decoded_once_and_unknown_ones_kept() -> None:
    source = "&amp;lt; &#60;b&#x3E; &copy; &nonsense; &constructor; &#0; &#xD800; a & b"
    assert text("m.decodeEntities(v[0])", source) == "&lt; <b> © &nonsense; &constructor; \ufffd \ufffd a & b"


@pytest.mark.parametrize(("tail", "healed"), [
    ("some **bold", "some **bold**"), ("some **", "some "), ("**a** b", "**a** b"), ("run `ls -l", "run `ls -l`"),
    ("see [the paper](https://exa", "see the paper"), ("as shown [1", "as shown "), ("as shown [1, ", "as shown "),
    ("```py\nx = '**'", "```py\nx = '**'"), ("`**` is bold", "`**` is bold"), ("", ""),
])  # fmt: skip
def test_the_unfinished_end_of_a_stream_is_made_presentable(tail: str, healed: str) -> None:
    assert text("m.heal(v[0])", tail) == healed


def test_copying_an_answer_takes_its_text_and_its_sources() -> None:
    parts = [{"type": "search", "id": "1"}, {"type": "text", "text": "One [1].\n"}, {"type": "text", "text": "Two."}]
    sources = [{"number": 1, "title": "A paper", "url": "https://example.org/"}]
    expected = "One [1].\n\nTwo.\n\nSources:\n[1] A paper https://example.org/"
    assert text("m.answerText(v[0], v[1])", parts, sources) == expected


def test_events_build_the_answer_that_the_server_saves() -> None:
    events = [
        {"t": "part", "p": {"type": "search", "id": "s", "status": "running"}},
        {"t": "part", "p": {"type": "search", "id": "s", "status": "done", "found": 2}},
        "Hel", "lo",
        {"t": "part", "p": {"type": "code", "id": "c", "status": "done"}},
        "End", {"t": "unknown"}, {"t": "sources", "s": [{"number": 1}]},
        {"t": "done", "status": "stopped", "error": "", "price": "$1", "price_note": "estimate"},
    ]  # fmt: skip
    assert stream("v[0].reduce(m.reduce, m.START)", events) == {
        "parts": [
            {"type": "search", "id": "s", "status": "done", "found": 2}, {"type": "text", "text": "Hello"},
            {"type": "code", "id": "c", "status": "done"}, {"type": "text", "text": "End"},
        ],
        "sources": [{"number": 1}], "status": "stopped", "error": "", "price": "$1", "price_note": "estimate",
    }  # fmt: skip


def test_a_stream_is_resumed_after_the_last_event_and_keeps_its_own_query() -> None:
    found = stream("[-1, 0, 7].map((last) => m.resumeUrl('/s?k=1', last, 'http://localhost/'))")
    assert found == ["http://localhost/s?k=1", "http://localhost/s?k=1&after=0", "http://localhost/s?k=1&after=7"]


def test_retries_begin_at_once_double_and_end_at_half_a_minute() -> None:
    assert stream("[0, 1, 2, 3, 9].map((n) => m.backoff(n, () => 0))") == [0, 1000, 2000, 4000, 30000]
    assert stream("m.backoff(1, () => 1)") == 1250


RICH = """Intro **x** [1]

1. a

2. b
   - c

```py
x = 1

# not a heading
```

| a | b |
|--|--|
| 1 | 2 |

> quote
lazy

$$
x_1
$$

Title
===

<div>

text

</div>

end"""


def test_a_text_that_arrives_by_characters_ends_in_the_same_blocks_as_at_once(blocks: Path) -> None:
    found = run(blocks, """(() => {
        const once = m.advance(m.NOTHING, v[0]);
        let state = m.NOTHING, stable = true;
        for (let end = 1; end <= v[0].length; end++) {
          const next = m.advance(state, v[0].slice(0, end));
          stable &&= state.blocks.every((block, at) => block === next.blocks[at]);
          state = next;
        }
        return { stable, grown: state.blocks, once: once.blocks, whole: state.head === state.blocks.join(""),
                 kinds: m.tokensOf(v[0]).map(({ type }) => type).filter((type) => type !== "space") };
    })()""", RICH)  # fmt: skip
    assert found["stable"]
    assert found["whole"]
    assert found["grown"] == found["once"]
    kinds = ["paragraph", "list", "code", "table", "blockquote", "formulaBlock", "heading", *["paragraph"] * 4]
    assert found["kinds"] == kinds
    assert len(found["grown"]) == len(kinds) - 2  # an unfinished line settles nothing about the one before


def test_a_text_that_is_replaced_by_another_is_split_afresh(blocks: Path) -> None:
    found = run(blocks, "m.advance(m.advance(m.NOTHING, 'a\\n\\nb\\n\\nc'), 'd\\n\\ne\\n').blocks")
    assert found == ["d"]


def test_raw_html_is_never_a_token_of_its_own(blocks: Path) -> None:
    hostile = [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "x <b>y</b>", "<!-- c -->", "<iframe srcdoc='x'>",
        "<div>\n\n**x**\n\n</div>", "<style>*{display:none}</style>", "<?php x ?>", "<![CDATA[x]]>", "<svg/onload=x>",
    ]  # fmt: skip
    types = run(blocks, """v[0].map((source) => {
        const types = [];
        const walk = (tokens) => tokens.forEach((one) => { types.push(one.type); walk(one.tokens ?? []); });
        walk(m.tokensOf(source));
        return types;
    })""", hostile)  # fmt: skip
    assert {kind for found in types for kind in found} <= {"paragraph", "text", "space", "strong"}


def test_no_formula_or_citation_is_found_in_code(blocks: Path) -> None:
    found = run(blocks, "m.tokensOf('`[1] $x$`\\n\\n```\\n[1] $x$\\n```').map((one) => JSON.stringify(one)).join()")
    assert "citation" not in found
    assert "formula" not in found


def test_a_hostile_text_of_a_long_answer_does_not_hang_the_page(blocks: Path) -> None:
    pieces = ["$", "[1", "| ", "\\(", "$x ", "[", "**a", "$$\n", "_a*", "*_a", "~~a", "`a``", "a@", "<br", "[a]("]
    hostile = [piece * (8_000 // len(piece)) for piece in pieces] + ["_a*" * 990]
    spent = run(blocks, """v[0].map((source) => {
        const start = performance.now();
        m.tokensOf(source);
        return performance.now() - start;
    })""", hostile)  # fmt: skip
    assert max(spent) < 1_500, dict(zip([one[:8] for one in hostile], map(round, spent), strict=True))
