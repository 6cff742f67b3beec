"""Who makes room when too many connections are open."""

from dataclasses import dataclass, field

from prometheus_client import REGISTRY

from service.ingress.connections import Connections


@dataclass(eq=False)
class One:
    """A connection that closes when it is told to, as sockets do a moment later."""

    is_busy: bool = False
    aborted: bool = field(default=False, init=False)

    def abort(self) -> None:
        self.aborted = True


def opened(connections: Connections, *ones: One) -> list[bool]:
    """Which of them were closed, once all were opened."""
    for one in ones:
        connections.opened(one)
    return [one.aborted for one in ones]


def senders(connections: Connections, count: int) -> list[One]:
    """So many that passed the checks of a source, idle since."""
    ones = [One() for _ in range(count)]
    opened(connections, *ones)
    for one in ones:
        connections.passed(one)
        connections.answered(one)
    return ones


def open_now(passed: str) -> float:
    return REGISTRY.get_sample_value("recibo_ingress_connections", {"passed": passed}) or 0.0


def test_up_to_the_limit_nobody_is_closed() -> None:
    assert opened(Connections(2), One(), One()) == [False, False]


def test_the_one_that_was_silent_longest_makes_room() -> None:
    assert opened(Connections(2), One(), One(), One()) == [True, False, False]


def test_who_passed_a_check_stays_while_another_can_go() -> None:
    connections = Connections(3)
    (sender,) = senders(connections, 1)

    assert opened(connections, One(), One(), One(), One()) == [True, True, False, False]
    assert not sender.aborted


def test_where_all_have_passed_the_one_that_was_idle_longest_makes_room() -> None:
    connections = Connections(3)
    first, second, third = senders(connections, 3)
    connections.answered(first)

    assert opened(connections, One()) == [False]
    assert [one.aborted for one in (first, second, third)] == [False, True, False]


def test_one_with_a_request_under_way_stays() -> None:
    connections = Connections(3)
    busy, idle = senders(connections, 2)
    busy.is_busy = True

    assert opened(connections, One(is_busy=True), One()) == [False, False]
    assert (busy.aborted, idle.aborted) == (False, True)


def test_where_all_have_a_request_under_way_it_is_the_new_one_that_is_closed() -> None:
    assert opened(Connections(2), One(is_busy=True), One(is_busy=True), One()) == [False, False, True]


def test_one_that_went_away_leaves_room() -> None:
    connections, first, second = Connections(2), One(), One()
    opened(connections, first, second)

    connections.closed(first)

    assert opened(connections, One()) == [False]


def test_as_many_are_closed_as_are_too_many_even_before_they_are_gone() -> None:
    ones = [One() for _ in range(10)]

    assert opened(Connections(4), *ones) == [True] * 6 + [False] * 4


def test_the_gauge_tells_strangers_from_senders() -> None:
    before = open_now("no"), open_now("yes")
    connections, stranger = Connections(3), One()
    (sender, _), _ = senders(connections, 2), opened(connections, stranger)

    during = open_now("no"), open_now("yes")
    for one in (stranger, sender, sender):
        connections.closed(one)

    assert during == (before[0] + 1, before[1] + 2)
    assert (open_now("no"), open_now("yes")) == (before[0], before[1] + 1)
