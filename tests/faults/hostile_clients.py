"""Clients of all kinds, honest ones too, that keep account of what they were answered."""

import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import flowruns
from tests.conftest import RUNS
from tests.faults import drafts
from tests.faults.clients import BODIES, has
from tests.faults.drafts import Asked, Draft, delete, get, post, put
from tests.faults.hostile_requests import broken_framing, damaged, made_odd, pieces
from tests.faults.odd_bodies import chunked, large_body
from tests.faults.odd_heads import damaged_cursor
from tests.test_real_runs import in_utc
from tests.wire import Reply, Wire

_MOST_KEPT = 50  # runs of one worker that its honest requests are about
_TOLD_BYTES = 4_000  # of what was sent when something was wrong
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NEVER_SENT = (
    b"Traceback", b'File "', b"site-packages", b"sqlite3", str(Path(flowruns.__file__).parent).encode(),
    drafts.TOKEN.encode(),
)  # fmt: skip


class Talk(NamedTuple):
    """What is sent on a connection: requests that are whole, then perhaps a *tail* that is none."""

    asked: list[Asked]
    tail: bytes = b""
    tail_statuses: frozenset[int] = drafts.NOT_HTTP
    tail_answers: range = range(1, 2)  # how many answers it may have; none is right too behind requests that are whole
    in_pieces: bool = False
    end: str = "stay"  # or "half": closes the sending half; "close", "reset": leaves, whatever is to come

    @property
    def data(self) -> bytes:
        return b"".join(asked.data for asked in self.asked) + self.tail


class Line(Wire):
    """A connection that may end behind any answer."""

    def end(self) -> None:
        """Closes the sending half, unless the server has left."""
        with suppress(OSError):
            super().end()

    def answer(self, method: str) -> Reply | None:
        """The next answer that is not 1xx, to a request of *method*; None: the server has closed."""
        while True:
            if not self._read:
                try:
                    self._read = self.socket.recv(65536)
                except ConnectionResetError:  # it has not read all that was sent
                    return None
                if not self._read:
                    return None
            reply = self.reply(method)
            if reply.status >= 200:
                return reply
            assert reply.status == 100, f"an answer is {reply.status}"


class Worker:
    """A client that has many talks, one after the other, and keeps account of what was answered."""

    def __init__(self, name: str, seed: int, url: str) -> None:
        self.name = name
        self.sent = 0  # requests
        self.statuses: Counter[int] = Counter()
        self.kinds: Counter[str] = Counter()
        self.runs: dict[str, bytes] = {}  # the documents of those that are there, as they were answered
        self.unknown: set[str] = set()  # without a response that shows whether they exist
        self._chance = random.Random(f"{seed} {name}")
        self._url = url
        self._line: Line | None = None  # that is kept from talk to talk
        self._before: deque[bytes] = deque(maxlen=2)  # what was sent on it last
        self._number = 0
        self._kept: list[str] = []  # runs of honest requests
        with Wire(url) as wire:
            page = wire.ask("GET", f"{RUNS}?size=1", None, drafts.BEARER.decode())
        self._cursor: bytes = page.json["current_page"].encode()

    def work(self, rounds: int, over: threading.Event) -> None:
        """Sends so many requests, unless it is *over* before. Raises AssertionError, which tells what was sent."""
        try:
            while self.sent < rounds and not over.is_set():
                kind = self._chance.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
                self.kinds[kind] += 1
                talk = _KINDS[kind][1](self)
                try:
                    self._have(talk)
                except (AssertionError, OSError, ValueError, KeyError) as error:
                    said = f"{self.name}, after {self.sent:,} requests, {kind}: {str(error)[:2_000] or repr(error)}"
                    sent = [f"{data[:_TOLD_BYTES]!r} ({len(data):,} bytes)" for data in (talk.data, *self._before)]
                    raise AssertionError(f"{said}; to {sent[0]}, then {talk.end}, behind {sent[1:]}") from error
        except BaseException:
            over.set()
            raise
        finally:
            if self._line is not None:
                self._line.socket.close()

    # What is answered

    def _have(self, talk: Talk) -> None:
        """Sends what *talk* says, and looks at all that is answered."""
        self.sent += len(talk.asked) + bool(talk.tail)
        if talk.tail or talk.end != "stay":
            with Line(self._url) as line:
                self._once(line, talk)
            return
        line, self._line = self._line or Line(self._url), None
        self._send(line, talk)
        goes_on = self._answered(line, talk.asked)
        if goes_on and not talk.asked[-1].statuses & drafts.NOT_HTTP:
            self._line = line
            self._before.appendleft(talk.data)
            return
        with line:
            if goes_on:  # it had a right answer before it turned out not to be HTTP, perhaps, and is to have no other
                line.end()
                assert (more := line.rest()) == b"", f"behind the last answer came {more[:500]!r}"
        self._before.clear()

    def _once(self, line: Line, talk: Talk) -> None:
        self._send(line, talk)
        if talk.end in ("close", "reset"):
            for asked in talk.asked:
                self.runs.pop(asked.id, None)
                self.unknown.add(asked.id)
            if talk.end == "reset":
                line.reset()
            return
        if talk.end == "half":
            line.end()
        if not self._answered(line, talk.asked):
            return
        answers = 0
        while (reply := line.answer("GET")) is not None:
            answers += 1
            self._look("", talk.tail_statuses, reply)
        allowed = [0, *talk.tail_answers] if talk.asked else talk.tail_answers
        assert answers in allowed or not talk.tail, f"there were {answers} answers to what is no request"
        assert talk.tail or not answers, "there was one answer more than requests"

    def _send(self, line: Line, talk: Talk) -> None:
        with suppress(ConnectionError):  # the server may have answered already, and left
            for piece in pieces(self._chance, talk.data) if talk.in_pieces else [talk.data]:
                line.send(piece)

    def _answered(self, line: Line, requests: list[Asked]) -> bool:
        """Looks at the answer to each of the *requests*. Whether the connection goes on."""
        for place, asked in enumerate(requests):
            rest = requests[place + 1 :]
            reply = line.answer(asked.method)
            if reply is None:
                # Behind requests that are whole, one that is not HTTP may go without an answer.
                allowed = place > 0 and not rest and bool(asked.statuses & drafts.NOT_HTTP)
                assert allowed, "there was no answer"
                return False
            self._look(asked.method, asked.statuses, reply)
            if asked.fields:
                assert has(reply.json, asked.fields), f"the run is not the one that was sent, but {reply.body!r}"
            if asked.method == "DELETE" and reply.status == 204:
                del self.runs[asked.id]
            if reply.header(b"connection") == b"close":
                assert not rest or (len(rest) == 1 and rest[0].statuses & drafts.NOT_HTTP), "the next one got no answer"
                # What is not HTTP is not HEAD either.
                more = b"" if (asked.method, reply.status) == ("HEAD", 400) else line.rest()
                assert more == b"", f"behind the last answer came {more[:500]!r}"
                return False
        return True

    def _look(self, method: str, statuses: frozenset[int], reply: Reply) -> None:
        """Checks the answer to any request, of an unknown *method* if it is empty, and remembers what it says."""
        self.statuses[reply.status] += 1
        received = f"{reply.status} {reply.headers} {reply.body[:1_000]!r}"
        assert reply.status in statuses, f"not one of {sorted(statuses)}, but {received}"
        assert _NOSNIFF in reply.headers, f"no {_NOSNIFF[0]!r} in {received}"
        whole = b"\n".join([*(b"%b: %b" % pair for pair in reply.headers), reply.body])
        assert not (inside := [one for one in _NEVER_SENT if one in whole]), f"{inside} in {received}"
        if reply.status in (204, 304):
            assert reply.header(b"content-length") is None, received
            return
        assert reply.header(b"content-type") == b"application/json", received
        if method == "HEAD":
            assert int(reply.header(b"content-length") or b"") > 0, received
        elif reply.status >= 400:
            in_the_one_shape(reply)
        else:
            self._remember(method, reply)

    def _remember(self, method: str, reply: Reply) -> None:
        id = reply.json.get("id")
        if id is None:  # no run
            return
        if method == "GET":
            assert reply.body == self.runs[id], f"the run was {self.runs[id]!r}, and is {reply.body!r}"
        else:
            self.runs[id] = reply.body

    # What is sent

    def _honest(self) -> Asked:
        """A request that is right, with one answer that is."""
        chance, kept = self._chance, self._kept
        id = chance.choice(kept) if kept else ""
        actions = ("create", "create", "read", "read", "replace", "delete", "page", "head", "post", "there", "other")
        action = chance.choice(actions) if kept else "create"
        if action == "create" and len(kept) == _MOST_KEPT:
            action = "delete"
        match action:
            case "create":
                kept.append(id := self._id("good"))
                return self._put(id, 201)
            case "read":
                return get(f"{RUNS}/{id}").asked()
            case "replace":
                return self._put(id, 200)
            case "delete":
                kept.remove(id)
                return delete(id).asked()
            case "page":
                return get(f"{RUNS}?size={chance.choice((1, 3))}&flowType=automation").asked()
            case "head":
                return get(f"{RUNS}/{id}", method="HEAD").asked()
            case "post":
                body = {name: value for name, value in self._body().items() if name in ("flowId", "args", "tags")}
                return post(body).asked(body | {"phase": "pending", "createdBy": drafts.USER})
            case "there":
                return post({"id": id, "flowId": "x"}, 409).asked()
        return chance.choice(
            (get(f"{RUNS}/nobody", 404), get("/nothing", 404), get("/health"), get("/openapi.json"))
        ).asked()

    def _put(self, id: str, status: int) -> Asked:
        body = self._body()
        return put(id, body, status).asked(body | {"id": id, "createdBy": drafts.USER, "reviewedAt": None})

    def _odd(self) -> Asked:
        """A request that is whole, but not right, or hardly."""
        if self._chance.random() < 0.05:
            draft = get(RUNS)
            damaged_cursor(self._chance, draft, self._cursor)
            return draft.asked()
        return made_odd(self._chance, self._draft())

    def _draft(self) -> Draft:
        """An honest request that is to be made drafts."""
        match self._chance.randrange(10):
            case 0 | 1 | 2:
                return put(self._id("odd"), self._body())
            case 3:
                return post({name: value for name, value in self._body().items() if name in ("flowId", "args", "tags")})
            case 4 if self._kept:
                id = self._kept.pop(self._chance.randrange(len(self._kept)))
                return delete(id)
            case 5 if self._kept:
                return get(f"{RUNS}/{self._chance.choice(self._kept)}")
            case 6:
                return get(self._chance.choice(("/health", "/openapi.json")))
            case 7:
                return get(RUNS, method="HEAD")
        return get(RUNS)

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self.name}-{self._number}"

    def _body(self) -> dict[str, object]:
        return {name: value for name, value in in_utc(self._chance.choice(BODIES)).items() if name != "id"}

    def _some(self, most: int) -> list[Asked]:
        return [self._honest() for _ in range(self._chance.randint(0, most))]

    def _stay_or_half(self) -> str:
        return self._chance.choice(("stay", "stay", "stay", "half"))

    def honest(self) -> Talk:
        return Talk([self._honest()])

    def odd(self) -> Talk:
        return Talk([self._odd()], end=self._stay_or_half())

    def pipelined(self) -> Talk:
        return Talk([self._honest(), *self._some(4), self._odd()], end=self._stay_or_half())

    def in_pieces(self) -> Talk:
        return Talk([*self._some(2), self._odd()], in_pieces=True, end=self._stay_or_half())

    def large(self) -> Talk:
        draft = put(self._id("large"), b"")
        large_body(self._chance, draft)
        if self._chance.random() < 0.5:
            chunked(self._chance, draft)
        return Talk([draft.asked()])

    def broken(self) -> Talk:
        """A request of which nobody can say where it ends; its body may be a request."""
        inner = put(self._id("smuggled"), self._body())
        body = inner.head() + (inner.body or b"") if self._chance.random() < 0.5 else inner.body
        data = broken_framing(self._chance, put(self._id("broken"), body or b""))
        return Talk(self._some(2), data, end=self._stay_or_half())

    def cut_off(self) -> Talk:
        """A request without its end, or one with more than it says."""
        draft = put(self._id("cut"), self._body())
        data = draft.asked().data
        place = self._chance.randrange(1, len(data))
        if self._chance.random() < 0.3:
            assert draft.body
            size = self._chance.randrange(len(draft.body))
            head = draft.head().replace(b": %d\r\n" % len(draft.body), b": %d\r\n" % size)
            short = Asked("PUT", head + draft.body[:size], frozenset({422}))
            return Talk([*self._some(2), short], draft.body[size:], end="half")
        return Talk(self._some(2), data[:place], tail_answers=range(2), end="half")

    def left(self) -> Talk:
        """Requests whose sender does not wait for an answer."""
        asked = [put(self._id("left"), self._body()).asked() for _ in range(self._chance.randint(0, 2))]
        data = put(self._id("left"), self._body()).asked().data
        return Talk(asked, data[: self._chance.randrange(len(data))], end=self._chance.choice(("close", "reset")))

    def damaged(self) -> Talk:
        """Requests some bytes of which are others: nobody knows what they are now."""
        whole = put(self._id("damaged"), self._body()).asked().data
        if self._chance.random() < 0.5:
            whole = whole[: whole.index(b"\r\n\r\n") + 4]  # the head alone, so that it is what is hit
        whole += get(RUNS + "?size=1").asked().data
        data = damaged(self._chance, whole)
        return Talk([], data, drafts.NO_FAULT_OF_OURS, tail_answers=range(10), end="half")


_KINDS: dict[str, tuple[int, Callable[[Worker], Talk]]] = {
    "honest": (150, Worker.honest),
    "odd": (400, Worker.odd),
    "pipelined": (50, Worker.pipelined),
    "in pieces": (100, Worker.in_pieces),
    "broken": (80, Worker.broken),
    "cut off": (80, Worker.cut_off),
    "left": (60, Worker.left),
    "damaged": (77, Worker.damaged),
    "large": (3, Worker.large),
}  # how many of 1000 talks are of this kind


def in_the_one_shape(reply: Reply) -> None:
    """Checks an answer of 4xx by the contract ("Errors")."""
    assert reply.details(reply.status)
    needed = {405: b"allow", 401: b"www-authenticate"}.get(reply.status)
    assert needed is None or reply.header(needed), f"a {reply.status} has no {needed!r}"
