"""One house for all tests that need no other settings, and tenants who are new in every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.state.house import House, Tenant, opened


@pytest.fixture(scope="session")
def house(emulators: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The app's process, without limits, its states in memory."""
    with opened(tmp_path_factory.mktemp("house"), emulators, REFLEX_STATE_MANAGER_MODE="memory") as running:
        yield running


@pytest.fixture
def owner(house: House) -> Tenant:
    """Somebody with chats, figures and running answers."""
    tenant = house.tenant()
    house.furnish(tenant)
    return tenant


@pytest.fixture
def stranger(house: House) -> Tenant:
    """Somebody with an account and nothing in it."""
    return house.tenant()
