"""The answers that the emulated model writes: markdown out of the question and what the tools brought back."""

from __future__ import annotations

import re

from emulators.llm.conversation import Conversation, Source, ToolResult, key_terms

NOTICE = "*No real model is connected: the local emulator put this answer together from the tools' results.*"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9“\"])|\n+")
_UNIT = (r"(?:percent|%|°C|(?:milli)?seconds?|minutes?|hours?|days?|weeks?|months?|years?|(?:kilo)?met(?:re|er)s?|km|"
         r"litres?|(?:kilo|milli)?grams?|kg|mg|tonnes?|watts?|kWh|decibels?|dollars?|times|million|billion)")
_FIGURE = re.compile(rf"(?:about |around |roughly )?\d[\d.,]* (?:to \d[\d.,]* )?{_UNIT}(?!\w)")
_ABOUT_FIGURES = re.compile(r"\bfigures?\b.*\b(drawn|shown)\b", re.I)
_GREETING = re.compile(r"^\W*(hi|hello|hey|good (?:morning|evening|day)|thanks?|thank you)\b.{0,20}$", re.I | re.S)


def is_greeting(question: str) -> bool:
    """Whether a message needs no research."""
    return bool(_GREETING.match(question))


def answer(conversation: Conversation, formula: str) -> str:
    """The final answer. `formula` is the TeX of what the program computed, or empty."""
    if is_greeting(conversation.question):
        return f"Hello! Ask me something: I search for sources, compute, and answer with citations.\n\n{NOTICE}"
    programs = [result for result in conversation.results if _code_of(result)]
    parts = [_opening(conversation, programs), _findings(conversation)]
    parts += [_calculation(result, formula) for result in programs]
    parts += [_glance(conversation), NOTICE]
    return "\n\n".join(part for part in parts if part)


def title(conversation: Conversation) -> str:
    """A short title for the conversation."""
    return " ".join(key_terms(conversation.question)[:6]).capitalize() or "New conversation"


def follow_ups(conversation: Conversation) -> list[str]:
    """Three questions that might come next."""
    topic = " ".join(key_terms(conversation.question)[:3]) or "this"
    return [
        f"What are the main objections to {topic}?",
        f"Can you chart the figures for {topic}?",
        f"What should I read next about {topic}?",
    ]


def summary(conversation: Conversation) -> str:
    """The conversation in a sentence."""
    asked = [*conversation.earlier, conversation.question]
    return "The conversation was about: " + "; ".join(" ".join(key_terms(text)[:6]) for text in asked if text) + "."


def _opening(conversation: Conversation, computed: list[ToolResult]) -> str:
    """What was computed, if anything, then the sentence of a source that fits the question best."""
    question = _quoted(conversation.question)
    lead = f"Following on from “{_quoted(conversation.earlier[-1])}”: " if conversation.follows_up else ""
    ranked = _ranked(conversation)
    if computed and (outcome := _outcome(computed[-1].content)):
        return f"{lead}{outcome}" + (f" {ranked[0][0]} [{ranked[0][1].number}]" if ranked else "")
    if ranked:
        sentence, source = ranked[0]
        return f"{lead}{sentence} [{source.number}]"
    if conversation.results:
        return f"{lead}Nothing that was found speaks of “{question}” directly."
    return f"{lead}I have no sources for “{question}”, so I cannot say anything about it that you could check."


def _findings(conversation: Conversation) -> str:
    """The best sentence of each further source, with its number."""
    ranked = _ranked(conversation)
    seen: dict[int, str] = {}
    for sentence, source in ranked[1:]:
        if source.number not in seen and len(seen) < 5:
            seen[source.number] = f"- **{source.title or 'Untitled'}**: {sentence} [{source.number}]"
    return "### What the sources say\n\n" + "\n".join(seen.values()) if seen else ""


def _calculation(result: ToolResult, formula: str) -> str:
    shown = f"The formula is ${formula}$.\n\n" if formula else ""
    tables, lines = _tables_and_lines(result.content)
    return f"### Calculation\n\n{shown}```python\n{_code_of(result).strip()}\n```\n\n{tables}\n\n{lines}".rstrip()


def _glance(conversation: Conversation) -> str:
    """A table of the sources that have to do with the question; only worth it from two on."""
    fitting = {source.number: source for _, source in _ranked(conversation)}
    if len(fitting) < 2 or not conversation.results:
        return ""
    rows = []
    for number, source in sorted(fitting.items())[:6]:
        figures = [figure.strip() for figure in _FIGURE.findall(source.text)]
        named = "; ".join(figures[:3]).replace("|", "/") or "none"
        rows.append(f"| {source.title.replace('|', '/') or 'Untitled'} | {named} | [{number}] |")
    return "### At a glance\n\n| Source | Figures it names | No. |\n| --- | --- | --- |\n" + "\n".join(rows)


def _ranked(conversation: Conversation) -> list[tuple[str, Source]]:
    """The sentences of the sources that share something with the question, those that share most first."""
    stems = {_stem(term) for term in conversation.topic}
    scored = []
    for source in conversation.sources:
        in_title = len(stems & {_stem(term) for term in key_terms(source.title)})
        for at, sentence in enumerate(_sentences(source.text)):
            shared = len(stems & {_stem(term) for term in key_terms(sentence)})
            if shared + in_title:
                scored.append((shared + 0.5 * in_title - 0.1 * at, sentence, source))
    scored.sort(key=lambda item: -item[0])
    return [(sentence, source) for _, sentence, source in scored]


def _sentences(text: str) -> list[str]:
    """The sentences of a text; fragments are left out, and dollar signs are kept from being read as formulas."""
    parts = [part.strip() for part in _SENTENCE_END.split(text)]
    return [part.replace("$", "\\$") for part in parts if 25 <= len(part) <= 400 and part[-1] in ".!?"]


def _stem(word: str) -> str:
    return word.lower()[:5]


def _code_of(result: ToolResult) -> str:
    """The program that a tool was called with, or an empty string if it was another kind of tool."""
    if not re.search(r"code|python", result.name, re.I):
        return ""
    return next((value for value in result.arguments.values() if isinstance(value, str)), "")


def _outcome(output: str) -> str:
    """The last sentence that a program printed."""
    lines = [line for line in _lines(output) if line.endswith(".") and not line.startswith("|")]
    return lines[-1] if lines and len(lines[-1]) < 300 else ""


def _tables_and_lines(output: str) -> tuple[str, str]:
    """What a program printed: its markdown table as it is, everything else as text to be read literally."""
    lines = _lines(output)
    table = "\n".join(line for line in lines if line.startswith("|"))
    other = "\n".join(line for line in lines if not line.startswith("|"))
    return table, f"```text\n{other[:3000]}\n```" if other else ""


def _lines(output: str) -> list[str]:
    """What a program printed, line by line, without what the tool adds about figures."""
    return [line.rstrip() for line in output.splitlines() if line.strip() and not _ABOUT_FIGURES.search(line)]


def _quoted(question: str) -> str:
    short = question if len(question) <= 120 else question[:117] + "…"
    return re.sub(r"\s+", " ", short).replace("$", "\\$")
