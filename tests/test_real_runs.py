"""346 runs of seven CI systems over real HTTP: each response has what its request sent."""

from datetime import UTC, datetime
from typing import Any

import httpx

from tests.conftest import RUNS

Run = dict[str, Any]
TIMES = {"startTime", "endTime", "timestamp"}


def in_utc(value: Any, name: str = "") -> Any:
    """*value* with its date-times as the API writes them."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("args", "outputs") else in_utc(value[key], key) for key in value}
    if isinstance(value, list):
        return [in_utc(item) for item in value]
    if name in TIMES and value is not None:
        return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return value


def test_real_runs_are_returned_as_sent_one_by_one_and_in_pages_both_ways(server: str, real_runs: list[Run]) -> None:
    expected = {run["id"]: in_utc(run) for run in real_runs}
    with httpx.Client(base_url=server) as client:
        for run in real_runs:
            assert client.put(f"{RUNS}/{run['id']}", json=run).status_code == 201
        for id, run in expected.items():
            got = client.get(f"{RUNS}/{id}").json()
            assert {name: got[name] for name in run} == run
        for link, order in (("next_page", "desc"), ("next_page", "asc"), ("previous_page", "desc")):
            params: dict[str, Any] = {"size": 33, "order": order}
            if link == "previous_page":
                params["cursor"] = last_cursor(client)
            pages = [client.get(RUNS, params=params).json()]
            while pages[-1][link]:
                pages.append(client.get(RUNS, params=params | {"cursor": pages[-1][link]}).json())
            walked = [run for page in (pages if link == "next_page" else pages[::-1]) for run in page["items"]]
            assert {page["total"] for page in pages} == {346}
            assert [run["id"] for run in walked] == list(expected)[:: 1 if order == "asc" else -1]
            for run in walked:
                assert {name: run[name] for name in expected[run["id"]]} == expected[run["id"]]


def last_cursor(client: httpx.Client) -> str:
    """The cursor that reads backwards from the oldest run."""
    page = client.get(RUNS).json()
    while page["next_page"]:
        page = client.get(RUNS, params={"cursor": page["next_page"]}).json()
    cursor: str = page["current_page_backwards"]
    return cursor
