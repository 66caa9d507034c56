"""The settings of one server."""

from typing import Any

import pytest

from flowruns.settings import DEFAULTS, Settings

SECRET = Settings(tokens={"s3cret": 1, "t0ken": 2})


@pytest.mark.parametrize(
    "shown",
    [repr(SECRET), str(SECRET), f"{SECRET}", f"{[SECRET]}", repr(list(SECRET.__rich_repr__()))],
    ids=["repr", "str", "format", "within a list", "rich"],
)
def test_printed_settings_hide_their_tokens(shown: str) -> None:
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def test_printed_settings_show_the_rest() -> None:
    shown = repr(Settings(database="x.db", port=0, tokens={"s3cret": 1}))
    assert "database='x.db'" in shown
    assert "port=0" in shown
    assert "1 tokens" in shown


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"port": 99999}, "port: Expected `int` <= 65535"), ({"port": "abc"}, "port: Expected `int`"),
        ({"max_body": "8MiB"}, "max_body: Expected `int`"), ({"lock_timeout": -1}, "lock_timeout"),
        ({"max_connections": 0}, "max_connections"), ({"synchronous": "off"}, "synchronous: Invalid enum value"),
        ({"tokens": {"S3CRET": "x"}}, "tokens: Expected `int`"),
        ({"tokens": ["S3CRET=1"]}, "tokens: Expected `object`"), ({"database": None}, "database: Expected `str`"),
        ({"tokens": {"S3CR T": 1}}, "tokens: Expected `str` matching"),
        ({"host": "0.0.0.0"}, "host '0.0.0.0' is reachable from other machines"), ({"host": ""}, "reachable"),
    ],
)  # fmt: skip
def test_invalid_value_raises_without_its_secret(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        Settings(**fields)
    assert "S3CR" not in str(refused.value)


def test_other_machines_need_tokens_or_anonymous() -> None:
    for host in ("127.0.0.1", "127.7.7.7", "::1", "LocalHost"):
        assert Settings(host=host).tokens == {}
    assert Settings(host="0.0.0.0", anonymous=True).anonymous
    assert Settings(host="0.0.0.0", tokens={"t": 7}).tokens == {"t": 7}


def test_lists_of_hosts_and_origins_are_sets() -> None:
    assert Settings(allow_hosts=["a", "a"]).allow_hosts == {"a"}  # type: ignore[arg-type]  # which programs do


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        DEFAULTS.port = 1  # type: ignore[misc]  # it is refused: that is the test
