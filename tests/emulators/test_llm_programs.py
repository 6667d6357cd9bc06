"""The programs that the emulated model writes run alike in Monty, in CPython, and with the emulated matplotlib."""

import contextlib
import io

import pytest

from chatapp.clients.code import Chart
from chatapp.clients.monty import Monty
from emulators.daytona.execution import execute
from emulators.llm import conversation, programs, quantities
from emulators.llm.figures import Drawing, offered

FOUND = "[1] Emissions\nEmissions in g CO2 per kWh: coal 820; gas 490; solar 45; wind 11. Coal is burnt."
QUESTIONS = {
    "How will $5,000 grow at 6% for 20 years?": ("| 20 | 16,035.68 | 11,035.68 |", "line"),
    "Calculate a mortgage of 200k over 30 years at 3.5%": ("| Monthly payment | 898.09 |", "line"),
    "Show the first 25 primes": ("their sum is 1060", "line"),
    "Fibonacci numbers, 10 terms": ("0, 1, 1, 2, 3, 5, 8, 13, 21, 34", "bar"),
    "Average of 3, 5, 8 and 16": ("| Mean | 8 |", "bar"),
    "Chart the emissions of coal": ("| solar | 45 | 5% |", "bar"),
    "Draw a pie of the emissions": ("| coal | 820 | 100% |", "pie"),
    "What is 15% of 240?": ("is 36;", None),
    "Compute (2+3)*4 - 7^2": ("= -29", None),
}


def program(question: str, drawing: Drawing) -> programs.Program:
    call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": FOUND},
    ]
    read = conversation.read(messages)
    assert programs.wanted(read)
    return programs.write(read, drawing)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_program_prints_the_same_everywhere_and_draws_in_either_way(question: str) -> None:
    printed, kind = QUESTIONS[question]
    plain = program(question, Drawing.NONE).source
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(plain, "program", "exec"), {})
    assert printed in output.getvalue()

    runner = Monty(processes=1)
    drawn = await runner.run(program(question, Drawing.CALL).source, thread_id="t", timeout_seconds=5)
    await runner.close()
    assert (drawn.error, drawn.stdout) == (None, output.getvalue())
    assert [figure.kind for figure in drawn.figures if isinstance(figure, Chart)] == ([kind] if kind else [])

    daytona = execute(program(question, Drawing.PYPLOT).source, 5)
    assert (daytona.exit_code, daytona.result) == (0, output.getvalue())
    assert [chart["type"] for chart in daytona.charts] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("description", "drawing"),
    [
        (Monty.instructions, Drawing.CALL),
        ("Python with numpy and matplotlib", Drawing.PYPLOT),
        ("Python", Drawing.NONE),
    ],
)
def test_the_way_of_drawing_is_read_in_the_tool_s_description(description: str, drawing: Drawing) -> None:
    assert offered(description) == drawing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$5,000 at 6% for 20 years", (5000, 6, 20)),
        ("200k over 30-year at 3.5 percent", (200000, 3.5, 30)),
        ("€1.5 million in one year", (1500000, None, None)),
        ("300 dollars", (300, None, None)),
        ("12 apples", (None, None, None)),
    ],
)
def test_quantities_are_found_in_words(text: str, expected: tuple) -> None:
    found = quantities.read(text)
    assert (found.amount, found.rate_percent, found.years) == expected


@pytest.mark.parametrize(
    "content",
    [
        "[1] A title <https://library.example/a>\nThe text of it.\n\n[2] B\nMore.",
        "- [1]: A title (https://library.example/a)\nhttps://library.example/a\nThe text of it.\n[2] B\nMore.",
        '{"sources": [{"number": 1, "title": "A title", "url": "x", "content": "The text of it."}, '
        '{"number": 2, "title": "B", "text": "More."}]}',
    ],
)
def test_numbered_sources_are_read_in_several_forms(content: str) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "web_search", "arguments": "{}"}}
    read = conversation.read(
        [
            {"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": content},
        ]
    )
    assert [(source.number, source.title, source.text) for source in read.sources] == [
        (1, "A title", "The text of it."), (2, "B", "More.")
    ]
