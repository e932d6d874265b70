"""Settings: what is needed, what is assumed, and what the error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import MissingSetting, Settings
from core.errors import BadInput

NEEDED = {"DATABASE_URL": "postgres://app@db/x", "REDIS_URL": "redis://cache/0"}


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_address_is_named_with_its_repair(name: str, value: str | None) -> None:
    environment = {key: text for key, text in {**NEEDED, name: value}.items() if text is not None}
    with pytest.raises(MissingSetting, match=rf"^{name} is not set: run `switchyard up`"):
        Settings.from_environment(environment)


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_any_spelling_of_a_postgres_address_gets_our_driver(prefix: str) -> None:
    settings = Settings.from_environment({**NEEDED, "DATABASE_URL": f"{prefix}app@db/x"})
    assert settings.database_url == "postgresql+psycopg://app@db/x"


def test_migrations_use_the_applications_login_unless_told_otherwise() -> None:
    assert Settings.from_environment(NEEDED).migrate_url == "postgresql+psycopg://app@db/x"
    owner = Settings.from_environment({**NEEDED, "DATABASE_MIGRATE_URL": "postgres://owner@db/x"})
    assert owner.migrate_url == "postgresql+psycopg://owner@db/x"


def test_addresses_follow_the_block_of_ports() -> None:
    settings = Settings.from_environment({**NEEDED, "SWITCHYARD_PORT_BASE": "9100"})
    assert settings.dashboard_url.endswith(":9100")
    assert settings.api_url.endswith(":9101")
    assert settings.sandbox_url.endswith(":9102")


@pytest.mark.parametrize("text", ["", "80", "70000", "eight", "-1", "8500.0"])
def test_a_block_of_ports_must_be_a_usable_number(text: str) -> None:
    with pytest.raises(BadInput, match="give a whole number from 1024 to 65000"):
        Settings.from_environment({**NEEDED, "SWITCHYARD_PORT_BASE": text})


def test_keys_come_from_the_environment_else_from_the_home(tmp_path: Path) -> None:
    (tmp_path / "secret_keys").write_text("new\nold\n")
    home = {**NEEDED, "SWITCHYARD_HOME": str(tmp_path)}
    assert Settings.from_environment(home).secret_keys == ("new", "old")
    assert Settings.from_environment({**home, "SWITCHYARD_SECRET_KEYS": "mine,other"}).secret_keys == ("mine", "other")
    assert Settings.from_environment(NEEDED).notice_url is None
