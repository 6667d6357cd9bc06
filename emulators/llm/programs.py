"""The programs that the emulated model writes: each computes something out of the question, in Monty as in CPython.

A program prints its result as plain lines and, where it fits, as a markdown table, which the answer then shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emulators.llm.conversation import Conversation, key_terms
from emulators.llm.figures import Drawing, draw
from emulators.llm.quantities import Quantities, read

_WANTED = re.compile(
    r"\b(calculat\w*|comput\w*|charts?|plot\w*|graphs?|draw|code|python|program|script|sum of|average of|mean of|"
    r"median|primes?|fibonacci|compound\w*|mortgage|simulat\w*|percent of)\b|%|[$€£]\s?\d|\d\s*[-+*/^×]\s*\d",
    re.I,
)
_EXPRESSION = re.compile(r"(?<![\w.])\(*-?\d[\d.]*\)*(?:\s*(?:\*\*|[-+*/^×])\s*\(*-?\d[\d.]*\)*)+")
_DATA_LINE = re.compile(
    r"([^.:\n]{3,80}):\s*((?:[^;:.\d\n]{2,40}\s\d+(?:\.\d+)?;\s*){2,}[^;:.\d\n]{2,40}\s\d+(?:\.\d+)?)"
)
_DATA_ITEM = re.compile(r"\s*(?:and\s)?([^;\d]+?)\s(\d+(?:\.\d+)?)\s*(?:;|$)")


@dataclass(frozen=True)
class Program:
    """Python source and, in TeX without delimiters, the formula that it applies; empty if there is none."""

    source: str
    formula: str = ""


def wanted(conversation: Conversation) -> bool:
    """Whether the question has to do with numbers, charts or code."""
    if _WANTED.search(conversation.question):
        return True
    has_figures = bool(read(conversation.question).numbers)
    return conversation.follows_up and has_figures and bool(_WANTED.search(conversation.earlier[-1]))


def write(conversation: Conversation, drawing: Drawing) -> Program:
    """The program for a question that `wanted` one."""
    question = conversation.question
    quantities = read(question)
    context = question
    if conversation.follows_up:
        quantities, context = quantities.over(read(conversation.earlier[-1])), f"{question} {conversation.earlier[-1]}"
    low = context.lower()
    if "prime" in low:
        return _primes(int(quantities.numbers[0]) if quantities.numbers else 20, drawing)
    if "fibonacci" in low:
        return _fibonacci(int(quantities.numbers[0]) if quantities.numbers else 15, drawing)
    if re.search(r"\b(mortgage|loan|repay\w*)\b", low) and quantities.amount:
        return _loan(quantities, drawing)
    if of := re.search(r"(\d+(?:\.\d+)?)\s?(?:%|percent) of [$€£]?(\d[\d,]*(?:\.\d+)?)", question, re.I):
        return _percent(of[1], of[2].replace(",", ""))
    if quantities.rate_percent is not None or "compound" in low:
        return _growth(quantities, drawing)
    if expression := _EXPRESSION.search(question):
        return _arithmetic(expression[0])
    if len(quantities.numbers) >= 3:
        return _statistics(quantities.numbers, drawing)
    return _data(conversation, drawing) or _mentions(conversation, drawing)


def _growth(quantities: Quantities, drawing: Drawing) -> Program:
    rate = 5.0 if quantities.rate_percent is None else quantities.rate_percent
    years = max(1, quantities.years or 10)
    source = (
        f"principal = {quantities.amount or 1000.0}\nrate = {rate} / 100\nyears = {years}\n"
        "balances = [principal * (1 + rate) ** year for year in range(years + 1)]\n"
        "step = max(1, years // 5)\n"
        'print("| Year | Balance | Gain |")\nprint("| ---: | ---: | ---: |")\n'
        "for year in sorted(set(list(range(0, years + 1, step)) + [years])):\n"
        '    print(f"| {year} | {balances[year]:,.2f} | {balances[year] - principal:,.2f} |")\n'
        'print(f"After {years} years: {balances[-1]:,.2f}, which is {balances[-1] / principal:.2f} times the start.")\n'
    )
    figure = draw(
        drawing, "line", "list(range(years + 1))", {"Balance": "balances"},
        (f"Growth at {rate:g} % a year", "Year", "Balance"),
    )
    return Program(source + figure, r"A = P\,(1 + r)^{n}")


def _loan(quantities: Quantities, drawing: Drawing) -> Program:
    rate = 4.0 if quantities.rate_percent is None else quantities.rate_percent
    source = (
        f"amount = {quantities.amount}\nrate = {rate} / 100 / 12\n"
        f"months = {max(1, quantities.years or 20)} * 12\n"
        "payment = amount * rate / (1 - (1 + rate) ** -months) if rate else amount / months\n"
        "left, owed, interest = amount, [], 0.0\n"
        "for month in range(months):\n"
        "    interest += left * rate\n    left = left * (1 + rate) - payment\n"
        "    if month % 12 == 11:\n        owed.append(max(0.0, round(left, 2)))\n"
        'print("| Quantity | Value |")\nprint("| --- | ---: |")\n'
        'print(f"| Monthly payment | {payment:,.2f} |")\nprint(f"| Payments in all | {payment * months:,.2f} |")\n'
        'print(f"| Interest in all | {interest:,.2f} |")\n'
    )
    figure = draw(
        drawing, "line", "list(range(1, len(owed) + 1))", {"Still owed": "owed"},
        ("What is still owed", "Year", "Amount"),
    )
    return Program(source + figure, r"M = \frac{P\,i}{1 - (1 + i)^{-n}}")


def _primes(limit: int, drawing: Drawing) -> Program:
    limit = min(max(limit, 1), 2000)
    source = (
        f"primes, candidate = [], 2\nwhile len(primes) < {limit}:\n"
        "    if all(candidate % p for p in primes if p * p <= candidate):\n        primes.append(candidate)\n"
        "    candidate += 1\n"
        'print(f"The first {len(primes)} primes end with {primes[-1]}; their sum is {sum(primes)}.")\n'
        'print("They are: " + ", ".join(str(p) for p in primes[:30]) + (", …" if len(primes) > 30 else ""))\n'
    )
    figure = draw(
        drawing, "line", "list(range(1, len(primes) + 1))", {"Prime": "primes"}, ("The first primes", "n", "n-th prime")
    )
    return Program(source + figure, r"p_n \sim n \ln n")


def _fibonacci(count: int, drawing: Drawing) -> Program:
    source = (
        f"terms = [0, 1]\nwhile len(terms) < {min(max(count, 2), 90)}:\n    terms.append(terms[-1] + terms[-2])\n"
        'print("Terms: " + ", ".join(str(t) for t in terms))\n'
        'print(f"The last two have the ratio {terms[-1] / max(1, terms[-2]):.6f}.")\n'
    )
    figure = draw(
        drawing, "bar", "[str(n) for n in range(len(terms))]", {"Term": "terms"}, ("Fibonacci numbers", "n", "Term")
    )
    return Program(source + figure, r"F_n = F_{n-1} + F_{n-2}")


def _percent(rate: str, base: str) -> Program:
    return Program(
        f"rate, base = {rate}, {base}\nshare = base * rate / 100\n"
        'print(f"{rate} percent of {base:,} is {share:,.4g}; the rest is {base - share:,.4g}.")\n',
        r"\text{share} = \frac{r}{100} \cdot b",
    )


def _arithmetic(expression: str) -> Program:
    python = expression.replace("^", "**").replace("×", "*")
    if python.count("(") != python.count(")"):
        python = python.replace("(", "").replace(")", "")
    return Program(f'result = {python}\nprint(f"{python} = {{result:,}}")\n')


def _statistics(numbers: tuple[float, ...], drawing: Drawing) -> Program:
    source = (
        f"values = {[int(n) if n.is_integer() else n for n in numbers]}\n"
        "ordered, n = sorted(values), len(values)\nmean = sum(values) / n\n"
        "median = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2\n"
        "deviation = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5\n"
        'print("| Quantity | Value |")\nprint("| --- | ---: |")\n'
        'results = {"Sum": sum(values), "Mean": mean, "Median": median, "Standard deviation": deviation}\n'
        'for name, value in results.items():\n    print(f"| {name} | {value:,.4g} |")\n'
    )
    figure = draw(
        drawing, "bar", "[str(i + 1) for i in range(n)]", {"Value": "values"}, ("The values given", "Position", "Value")
    )
    return Program(source + figure, r"\bar{x} = \frac{1}{n}\sum_i x_i")


def _data(conversation: Conversation, drawing: Drawing) -> Program | None:
    """Work on the first list of figures (`What (unit): this 1; that 2; other 3`) that the sources give."""
    for source in conversation.sources:
        if (line := _DATA_LINE.search(source.text)) and (items := _DATA_ITEM.findall(line[2])):
            what = line[1].strip().removeprefix("Figures for ")
            kind = "pie" if re.search(r"\b(pie|share)\b", conversation.question, re.I) else "bar"
            labels, values = [label.strip() for label, _ in items], [float(value) for _, value in items]
            program = (
                f"# {what}, from source [{source.number}]\nlabels = {labels!r}\nvalues = {values!r}\n"
                'print("| Item | Value | Of the largest |")\nprint("| --- | ---: | ---: |")\n'
                "for label, value in sorted(zip(labels, values), key=lambda pair: -pair[1]):\n"
                '    print(f"| {label} | {value:g} | {value / max(values):.0%} |")\n'
                'print(f"The largest is {max(values) / max(min(values), 1e-9):.1f} times the smallest.")\n'
            )
            return Program(program + draw(drawing, kind, "labels", {what: "values"}, (what, "", what)))
    return None


def _mentions(conversation: Conversation, drawing: Drawing) -> Program:
    """With no figures at all: how often the question's terms occur in what was found."""
    terms = key_terms(conversation.question)[:8] or ["question"]
    texts = [source.text for source in conversation.sources] or [conversation.question]
    source = (
        f"terms = {terms!r}\ntexts = {[text[:600] for text in texts[:5]]!r}\n"
        "counts = [sum(text.lower().count(term.lower()) for text in texts) for term in terms]\n"
        'print("| Term | Mentions |")\nprint("| --- | ---: |")\n'
        "for term, count in zip(terms, counts):\n    print(f\"| {term} | {count} |\")\n"
    )
    figure = draw(
        drawing, "bar", "terms", {"Mentions": "counts"}, ("How often the sources mention each term", "Term", "Mentions")
    )
    return Program(source + figure)
