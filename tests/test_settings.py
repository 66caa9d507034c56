"""The settings of one server."""

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


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        DEFAULTS.port = 1  # type: ignore[misc]  # it is refused: that is the test
