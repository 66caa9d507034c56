"""The fixtures, each test in a pytest run of its own."""

import importlib.util
import textwrap

import pytest

from tests.waits import HANG

pytest_plugins = ["pytester"]

HTTP = """
import json, os
from urllib.error import HTTPError
from urllib.request import Request, urlopen

def send(url, method="GET", body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers["Content-Type"] = "application/json"
    try:
        with urlopen(Request(url + "/api/v1/flow-runs", data, headers, method=method)) as response:
            return response.status
    except HTTPError as error:
        with error:
            return error.code
"""


class Run:
    """Runs pytest on a file in a new process. Warnings are errors, and only *plugins* are loaded."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.pytester.makepyfile(http_client=HTTP)

    def __call__(self, source: str, *args: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        header = "import os, sys, threading, pytest\nfrom http_client import send\n"
        self.pytester.makepyfile(test_it=header + textwrap.dedent(source))
        options = [option for name in ("flowruns", *plugins) for option in ("-p", name)]
        return self.pytester.runpytest_subprocess("-W", "error", "--strict-markers", *options, *args, timeout=HANG)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of the process that runs this test
    return Run(pytester)


def test_each_test_has_an_empty_server(run: Run) -> None:
    result = run(
        """
        before = os.environ.get("FLOWRUNS_URL")

        @pytest.mark.parametrize("number", range(3))
        def test_clean(flowruns, flowruns_server, number):
            assert flowruns is flowruns_server
            assert flowruns.dump() == [] and len(flowruns.requests) == 0
            assert os.environ["FLOWRUNS_URL"] == flowruns.url
            assert send(flowruns.url, "POST", {"flowId": "web"}) == 201
            flowruns.freeze("2025-01-20T18:53:03.558Z")
            flowruns.fail_next(503, times=None)
            flowruns.delay(60, method="PUT")

        def test_after_reset(flowruns_server):
            assert os.environ.get("FLOWRUNS_URL") == before
            assert flowruns_server.dump() == []
            assert send(flowruns_server.url) == 200
            assert flowruns_server.run().created_at > "2026"
        """
    )
    result.assert_outcomes(passed=4)


def test_markers_set_runs_time_and_tokens(run: Run) -> None:
    run.pytester.makefile(".ndjson", runs='{"id":"r1","flowId":"a","flowType":"automation"}')
    result = run(
        """
        TIME = "2025-01-20T18:53:03.558Z"
        pytestmark = pytest.mark.flowruns(tokens={"t": 7}, time=TIME)

        @pytest.mark.flowruns(seed="runs.ndjson")
        class TestIt:
            def test_all(self, flowruns):
                (run,) = flowruns.dump()
                assert (run["id"], run["createdAt"]) == ("r1", TIME)
                assert send(flowruns.url) == 401
                assert send(flowruns.url, Authorization="Bearer t") == 200

            @pytest.mark.flowruns(seed=[{"flowId": "b", "flowType": "automation"}], tokens={}, time=None)
            def test_closest(self, flowruns):
                (run,) = flowruns.dump()
                assert run["flowId"] == "b" and run["createdAt"] > TIME
                assert send(flowruns.url) == 200

        ids = []

        @pytest.mark.flowruns(seed=3)
        @pytest.mark.parametrize("again", [0, 1])
        def test_ids(flowruns, again):
            ids.append(flowruns.run().id)
            assert len(set(ids)) == 1
        """
    )
    result.assert_outcomes(passed=4)


def test_wrong_marker_is_an_error_of_its_test_alone(run: Run) -> None:
    markers = {
        "('runs.ndjson')": r"takes only seed=, time= and tokens=, not \('runs.ndjson'\)",
        "(seeds=3)": r"takes only seed=, time= and tokens=, not \(seeds=3\)",
        "(seed='none.ndjson')": "No such file.*none.ndjson",
        "(seed=[{'flowId': 'A'}])": r"run 1, body\.flowId: String should match",
        "(time='yesterday')": r"\(time='yesterday'\): .*RFC 3339",
        "(tokens=['t'])": r"tokens must be a dict of tokens to user ids, not \['t'\]",
    }
    result = run(
        "\n".join(
            f"@pytest.mark.flowruns{marker}\ndef test_wrong_{number}(flowruns): pass\n"
            f"def test_next_{number}(flowruns): assert flowruns.dump() == [] and flowruns.run().created_at > '2026'"
            for number, marker in enumerate(markers)
        )
    )
    result.assert_outcomes(passed=len(markers), errors=len(markers))
    result.stdout.no_fnmatch_line("E *")  # no traceback
    result.stdout.no_fnmatch_line("During handling of*")
    result.stdout.re_match_lines_random([f"@pytest.mark.flowruns.*{message}" for message in markers.values()])


def test_last_requests_are_in_the_report_of_a_failure(run: Run) -> None:
    result = run(
        """
        def test_call(flowruns):
            for _ in range(21): send(flowruns.url)
            flowruns.assert_called("POST")

        @pytest.fixture
        def failing_setup(flowruns):
            send(flowruns.url, "POST", {"flowId": "setup"})
            raise ValueError
        def test_setup(failing_setup): pass

        @pytest.fixture
        def failing_teardown(flowruns):
            yield
            send(flowruns.url, "POST", {"flowId": "teardown"})
            raise ValueError
        def test_teardown(failing_teardown): pass

        def test_several(make_flowruns):
            one, two = make_flowruns(), make_flowruns()
            send(two.url, "DELETE")
            assert False

        def test_misuse(flowruns): flowruns.tick(1)
        def test_status(flowruns): flowruns.fail_next(200)
        """
    )
    result.assert_outcomes(passed=1, failed=4, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*AssertionError: POST: expected at least 1 request, received 0",
            "flowruns = <Flowruns http://127.0.0.1:*>",
            "*- flowruns requests -*",
            "(1 before)",
            "GET /api/v1/flow-runs 200",
            'POST /api/v1/flow-runs 201 {"flowId": "setup"}',
            'POST /api/v1/flow-runs 201 {"flowId": "teardown"}',
            "*- flowruns requests 2 -*",
            "DELETE /api/v1/flow-runs 405",
        ]
    )
    result.stdout.fnmatch_lines_random(
        ["E *needs a frozen clock: call freeze*", "E *status must be a whole number from 400 to 599, not 200"]
    )
    for function in ("assert_requests", "tick", "fail_next", "failure_response", "call", "check_number"):
        result.stdout.no_fnmatch_line(f"*def {function}(*")  # tracebacks end at the test's line


def test_what_had_no_effect_is_in_the_report_of_a_failure(run: Run) -> None:
    result = run(
        """
        def test_it(flowruns):
            send(flowruns.url + "/api/v1/flow-runs?limit=1#")
            send(flowruns.url, "POST", {"flowId": "web", "endtime": None, "phase": "failed"})
            assert False
        """
    )
    result.stdout.fnmatch_lines(
        [
            "GET /api/v1/flow-runs?limit=1 200",
            "  unknown query parameter 'limit' is ignored; did you mean 'size'[?]",
            "POST /api/v1/flow-runs 201 {*",
            "  unknown field 'endtime' in the body is ignored; did you mean 'endTime'[?]",
            "  POST ignores 'phase' in the body; set it with PUT /api/v1/flow-runs/{id}",
        ],
        consecutive=True,
    )


def test_hints_are_logged_at_level_info(run: Run) -> None:
    source = """
        def test_it(flowruns):
            send(flowruns.url, "POST", {"flowId": "web", "status": "failed"})
            assert False
        """
    line = "INFO *unknown field 'status' in the body is ignored; did you mean 'phase'[?]"
    run(source, "--log-level=info").stdout.fnmatch_lines([line])
    run(source).stdout.no_fnmatch_line(line)


def test_fault_that_no_request_got_is_a_warning(run: Run) -> None:
    result = run(
        """
        pytestmark = pytest.mark.filterwarnings("always::flowruns.testing.UnusedFaultWarning")

        def test_unused(flowruns):
            flowruns.fail_next(503, times=2, method="PUT", path="/flow-runs")
        def test_other(make_flowruns):
            make_flowruns().drop_connection(id="a1")
        def test_used(flowruns):
            flowruns.fail_next(503, times=2)  # the client may give up
            flowruns.delay(60, id="a1")
            flowruns.fail_next(times=None, id="a1")
            assert send(flowruns.url) == 503
        def test_removed(flowruns):
            flowruns.fail_next()
            flowruns.recover()
        """
    )
    result.assert_outcomes(passed=4, warnings=2)
    result.stdout.fnmatch_lines(
        [
            "*UnusedFaultWarning: the test ended before any request got fail_next(503) for PUT /flow-runs;"
            " path is the whole path, such as '/api/v1/flow-runs/[*]'",
            "*UnusedFaultWarning: the test ended before any request got drop_connection() for any method of 'a1'",
        ]
    )


def test_options_apply_to_every_server(run: Run) -> None:
    run.pytester.makeconftest(
        """
        import pytest
        @pytest.fixture(scope="session")
        def flowruns_options(tmp_path_factory):
            return {"tokens": {"t": 7}, "database": str(tmp_path_factory.mktemp("runs") / "a.db")}
        """
    )
    result = run(
        """
        def test_server(flowruns, flowruns_options):
            assert send(flowruns.url) == 401 and send(flowruns.url, Authorization="Bearer t") == 200
            assert os.path.exists(flowruns_options["database"])

        def test_others(make_flowruns):
            assert send(make_flowruns().url) == 401
            assert send(make_flowruns(tokens={}).url) == 200
        """
    )
    result.assert_outcomes(passed=2)


@pytest.mark.skipif(not importlib.util.find_spec("xdist"), reason="pytest-xdist is not installed")
def test_each_xdist_worker_has_a_database_file_of_its_own(run: Run) -> None:
    run.pytester.makeconftest(
        f"""
        import pytest
        @pytest.fixture(scope="session")
        def flowruns_options():
            return {{"database": {str(run.pytester.path / "runs.db")!r}}}
        """
    )
    result = run(
        """
        @pytest.mark.parametrize("number", range(8))
        def test_one(flowruns, number, worker_id):
            assert [run["id"] for run in flowruns.dump()] == []
            flowruns.run("a")
            assert os.path.exists(f"runs-{worker_id}.db")
        """,
        "-n",
        "2",
        plugins=("xdist",),
    )
    result.assert_outcomes(passed=8)


def test_proxies_of_the_environment_do_not_get_requests_to_the_server(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        def proxy(monkeypatch):
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
            monkeypatch.setenv("NO_PROXY", "other.example")

        def test_one(proxy, flowruns):
            assert send(flowruns.url) == 200
            assert os.environ["NO_PROXY"].startswith("other.example,")

        def test_two(proxy):
            assert os.environ["NO_PROXY"] == "other.example"
        """
    )
    result.assert_outcomes(passed=2)


def test_options_of_one_module_alone_are_refused(run: Run) -> None:
    run.pytester.makepyfile(
        test_other="""
        import pytest
        from http_client import send

        @pytest.fixture(scope="session")
        def flowruns_options(): return {"max_body": 1024}
        def test_other(flowruns): pass
        def test_own(make_flowruns):
            assert send(make_flowruns().url, "POST", {"flowId": "x" * 2000}) == 413
        """
    )
    result = run("def test_default(flowruns): pass", "test_it.py", "test_other.py")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["this test has other flowruns_options than the server of the session*make_flowruns"])


def test_options_that_no_server_takes_are_one_clear_error(run: Run) -> None:
    result = run(
        """
        @pytest.fixture(scope="session")
        def flowruns_options(): return {"max_bodies": 1}
        def test_it(flowruns): pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the server cannot start with these flowruns_options: *'max_bodies'*"])
    result.stdout.no_fnmatch_line("E *")


def test_servers_of_a_test_are_separate_and_stop_with_it(run: Run) -> None:
    result = run(
        """
        def test_two(make_flowruns, tmp_path, flowruns):
            one, two = make_flowruns(tmp_path / "a.db"), make_flowruns()
            one.run("r1")
            two.freeze("2025-01-20T18:53:03.558Z")
            assert (len(one.dump()), two.dump(), flowruns.dump()) == (1, [], [])
            assert len({one.url, two.url, flowruns.url}) == 3
            assert one.run().created_at > "2026"
            two.delay(60)

        def test_files_are_free(tmp_path_factory, flowruns_server):
            (file,) = tmp_path_factory.getbasetemp().glob("test_two0/*")
            file.unlink()
            assert sum(thread.name == "flowruns" for thread in threading.enumerate()) == 1
        """
    )
    result.assert_outcomes(passed=2)


ASYNC = """
        import httpx

        async def status(app):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://any") as client:
                response = await client.post("/api/v1/flow-runs", json={"flowId": "web"})
                page = await client.get("/api/v1/flow-runs")
                return response.status_code, page.json()["total"]
"""


def test_application_is_new_for_each_anyio_test(run: Run) -> None:
    result = run(
        f"""{ASYNC}
        @pytest.fixture
        def anyio_backend(): return "asyncio"

        @pytest.mark.anyio
        @pytest.mark.parametrize("again", range(3))
        async def test_app(flowruns_app, again):
            assert await status(flowruns_app) == (201, 1)
            assert not [thread for thread in threading.enumerate() if thread.name == "flowruns"]
        """,
        plugins=("anyio",),
    )
    result.assert_outcomes(passed=3)


@pytest.mark.skipif(not importlib.util.find_spec("pytest_asyncio"), reason="needs pytest-asyncio, and -p no:asyncio")
def test_application_is_new_for_each_asyncio_test(run: Run) -> None:
    result = run(
        f"""{ASYNC}
        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("again", range(3))
        async def test_app(flowruns_app, again):
            assert await status(flowruns_app) == (201, 1)

        @pytest.mark.asyncio
        async def test_both(flowruns_app, flowruns):
            assert await status(flowruns_app) == (201, 1)
            assert flowruns.dump() == []
        """,
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        plugins=("asyncio",),
    )
    result.assert_outcomes(passed=4)


def test_wider_fixtures_use_the_server(run: Run) -> None:
    result = run(
        """
        @pytest.fixture(scope="module")
        def seeded(flowruns_server):
            flowruns_server.reset()
            flowruns_server.run("r1")
            return flowruns_server

        class TestRead:
            @pytest.mark.parametrize("again", range(2))
            def test_it(self, seeded, again):
                assert seeded.get("r1").id == "r1"

        @pytest.fixture(scope="class")
        def own():
            from flowruns.testing import serve
            with serve() as server:
                yield server

        class TestWrite:
            def test_one(self, own): own.run("r1")
            def test_two(self, own): assert own.get("r1")
        """
    )
    result.assert_outcomes(passed=4)


MANY = """
        @pytest.mark.parametrize("number", range(40))
        def test_alone(flowruns, number):
            assert flowruns.dump() == []
            assert send(flowruns.url, "PUT", {"flowId": "web"}) == 405
            if number == 0: assert flowruns.client.get("/health").json()["runs"] == 0
            assert flowruns.run(f"r{number}").id == flowruns.wait(flowId="deploy-web").id
            flowruns.assert_called("PUT", times=1)
"""


@pytest.mark.skipif(not importlib.util.find_spec("xdist"), reason="pytest-xdist is not installed")
def test_each_worker_has_a_server(run: Run) -> None:
    result = run(MANY, "-n", "2", plugins=("xdist",))
    result.assert_outcomes(passed=40)


def test_sessions_leave_no_threads_or_descriptors(run: Run) -> None:
    """A second and a third session in a process leave the threads, and on Linux the descriptors, of the first."""
    run.pytester.makepyfile(test_it="import pytest\nfrom http_client import send\n" + textwrap.dedent(MANY))
    program = run.pytester.makepyfile(
        program="""
        import gc, os, sys, threading, pytest
        def resources():
            gc.collect()
            return threading.enumerate(), len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        seen = []
        for _ in range(3):
            assert pytest.main(["-q", "-W", "error", "-p", "flowruns", "test_it.py"]) == 0
            seen.append(resources())
        assert seen[0] == seen[1] == seen[2] and seen[0][0] == [threading.main_thread()], seen
        assert "FLOWRUNS_URL" not in os.environ
        """
    )
    result = run.pytester.runpython(program)
    assert result.ret == 0, result.stderr.str()


def test_installed_plugin_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys
        def pytest_unconfigure():
            heavy = ("msgspec", "starlette", "uvicorn", "aiosqlite", "httpx", "flowruns.testing.server")
            print("loaded:", "flowruns.testing.plugin" in sys.modules, [name for name in heavy if name in sys.modules])
        """
    )
    pytester.makepyfile("def test_it(flowruns): pass")
    result = pytester.runpytest_subprocess("--collect-only", timeout=HANG)
    result.stdout.fnmatch_lines(["loaded: True []"])
    result = pytester.runpytest_subprocess("--fixtures", "--markers", "-q", timeout=HANG)
    result.stdout.fnmatch_lines(["@pytest.mark.flowruns(seed=0, time=None, tokens=None): the runs *"])


def test_plugin_can_be_disabled(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass\ndef test_other(flowruns): pass")
    result = pytester.runpytest_subprocess("-p", "no:flowruns", timeout=HANG)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'flowruns' not found"])
