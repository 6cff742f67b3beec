"""Who makes room when too many connections are open."""

from dataclasses import dataclass, field

from service.ingress.connections import Connections


@dataclass(eq=False)
class One:
    """A connection that closes when it is told to, as sockets do a moment later."""

    has_asked: bool = False
    aborted: bool = field(default=False, init=False)

    def abort(self) -> None:
        self.aborted = True


def opened(connections: Connections, *ones: One) -> list[bool]:
    """Which of them were closed, once all were opened."""
    for one in ones:
        connections.opened(one)
    return [one.aborted for one in ones]


def test_up_to_the_limit_nobody_is_closed() -> None:
    assert opened(Connections(2), One(), One()) == [False, False]


def test_the_one_that_was_silent_longest_makes_room() -> None:
    assert opened(Connections(2), One(), One(), One()) == [True, False, False]


def test_who_asked_stays() -> None:
    assert opened(Connections(2), One(has_asked=True), One(), One()) == [False, True, False]


def test_where_all_have_asked_it_is_the_new_one_that_is_closed() -> None:
    assert opened(Connections(2), One(has_asked=True), One(has_asked=True), One()) == [False, False, True]


def test_one_that_went_away_leaves_room() -> None:
    connections, first, second = Connections(2), One(), One()
    opened(connections, first, second)

    connections.closed(first)

    assert opened(connections, One()) == [False]


def test_as_many_are_closed_as_are_too_many_even_before_they_are_gone() -> None:
    ones = [One() for _ in range(10)]

    assert opened(Connections(4), *ones) == [True] * 6 + [False] * 4
