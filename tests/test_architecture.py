"""The house's rules, read from the imports: arrows point downwards, and each library stays in its room."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"chatapp", "__main__", "emulation"},
    {"pages"},
    {"components"},
    {"state", "routes", "logs"},
    {"accounts", "chat"},
    {"agent"},
    {"billing", "mail"},
    {"services"},
    {"clients", "models", "db"},
    {"settings", "ids", "text", "billing_core"},
]
"""From the top down. A module may import from its own layer and from any layer below."""
CORE = {"money", "catalog", "buckets", "pricing", "rates", "entitlements", "periods"}
"""The billing core: the standard library and each other alone."""
HOMES = {
    "reflex": {"chatapp", "pages", "components", "state"},
    "reflex_base": {"chatapp", "pages", "components", "state"},
    "reflex_components_core": {"components"},
    "polar": {"clients"}, "supabase": {"clients"}, "supabase_auth": {"clients"}, "resend": {"clients"},
    "valyu": {"clients"}, "daytona": {"clients"}, "pydantic_monty": {"clients"}, "openai": {"clients"},
    "pydantic_ai": {"clients", "agent", "services"},
    "genai_prices": {"billing"},
}
"""Which rooms may import which library."""
FILES = sorted((ROOT / "chatapp").rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """All modules that a file imports, also inside functions; `from a import b` counts as `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _room(module: str) -> str | None:
    """The room of a dotted chatapp module: its first part below chatapp; the core of billing is a room of its own."""
    parts = module.split(".")
    if parts[0] != "chatapp" or len(parts) < 2:
        return None
    if parts[1] == "billing" and len(parts) > 2 and parts[2] in CORE:
        return "billing_core"
    return parts[1]


def _level(room: str) -> int:
    return next((level for level, rooms in enumerate(LAYERS) if room in rooms), -1)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_imports_point_downwards_only(path: Path) -> None:
    own = _room(_module(path))
    if own in (None, "__init__"):
        return
    assert _level(own) >= 0, f"{own} is a room that the design does not know"
    for module in _imports(path):
        if (room := _room(module)) and _level(room) >= 0:
            assert _level(room) >= _level(own), f"{_module(path)} imports {module}, which is above it"


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_each_library_stays_in_its_room(path: Path) -> None:
    own = _room(_module(path))
    for module in _imports(path):
        homes = HOMES.get(module.split(".")[0])
        if homes is not None and own is not None:
            assert own in homes, f"{_module(path)} imports {module}"


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_billing_core_imports_the_standard_library_alone(name: str) -> None:
    import sys

    for module in _imports(ROOT / "chatapp" / "billing" / f"{name}.py"):
        top = module.split(".")[0]
        in_core = module.startswith("chatapp.billing") and (module.split(".") + [""] * 3)[2] in CORE
        assert top in sys.stdlib_module_names or in_core, f"the billing core imports {module}"


def test_the_app_and_the_emulators_never_import_each_other() -> None:
    for path in FILES:
        assert not any(module.split(".")[0] == "emulators" for module in _imports(path)), path
    for path in (ROOT / "emulators").rglob("*.py"):
        assert not any(module.split(".")[0] == "chatapp" for module in _imports(path)), path


def test_only_the_settings_read_the_environment() -> None:
    for path in FILES:
        if path.parent.name == "settings" or path.name in ("__main__.py", "emulation.py"):
            continue
        source = path.read_text()
        assert "os.environ" not in source, path
        assert "getenv" not in source, path
