"""The runs that a subscriber to changes holds: it is notified of those that leave its filters, and of no others."""

from collections.abc import Iterator, Mapping
from operator import attrgetter

from flowruns.store.filters import Where
from flowruns.store.reads import Change, Changes, Departure

_MAX_RUNS = 1000  # whose ids are kept for one subscriber

_MAX_ID = 200  # characters of an id that is kept


class Holdings:
    """The runs of a subscriber. If there are too many, it counts as one that has just resumed: then it may hold every
    run that existed, and is notified of some that it does not hold.
    """

    def __init__(self, resumed_after: int = 0) -> None:
        """*resumed_after* is the change number after which the subscriber resumes; 0: it holds nothing yet."""
        self._resumed_after = resumed_after
        self._complete = 0  # number of the last write when it was last sent all there was
        self._held: set[str] = set()  # ids of runs that it was sent
        self._released: set[str] = set()  # of other runs for which it got `left`, since it resumed

    def scope(self, where: Where) -> Where:
        """*where* for the next read of changes: with departures, unless the subscriber holds no run."""
        departures = self._resumed_after > 0 or bool(self._held)
        return where if where.departures == departures else where._replace(departures=departures)

    def select(self, changes: Changes) -> Changes:
        """*changes* with the departures that concern the subscriber among `found`, all of which count as sent."""
        departures = list(self._departures(changes.departures)) if changes.departures else []
        found = sorted([*changes.found, *departures], key=attrgetter("seq")) if departures else changes.found
        for change in found:
            self._apply(change)
        if changes.position == changes.last:
            self._complete = changes.last
        return changes._replace(found=found, departures={})

    def _departures(self, departures: Mapping[str, Departure]) -> Iterator[Change]:
        if not self._resumed_after and self._held.isdisjoint(departures):  # nearly always
            return
        for id, departure in departures.items():
            if id in self._held or (id not in self._released and self._may_hold(departure)):
                yield departure.change

    def _may_hold(self, departure: Departure) -> bool:
        """Whether the subscriber may have resumed with the run, or with another one that had its id. The end of that
        other run is no change any more: it was sent only if the subscriber was sent all changes before the next run.
        """
        existed = departure.created is not None and departure.created <= self._resumed_after
        return self._resumed_after > 0 and (existed or departure.former > self._complete)

    def _apply(self, change: Change) -> None:
        added, other = (self._held, self._released) if change.kind == "run" else (self._released, self._held)
        other.discard(change.id)
        if change.kind == "run" or self._resumed_after:
            added.add(change.id)
        if len(added) > _MAX_RUNS or len(change.id) > _MAX_ID:
            self._resumed_after = change.seq
            self._held.clear()
            self._released.clear()
