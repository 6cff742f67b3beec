"""Hypothesis draws facts of one root: any words, few instants, few amounts."""

from collections.abc import Sequence

from hypothesis import strategies as st

from projections.facts import Fact
from tests.facts import decision, fact, payment

# Few instants and few amounts: equal times, and one key with two contents, are what could go wrong.
SECONDS = st.integers(0, 4)
AMOUNTS = st.sampled_from([None, 0, 50, 100])
SNAPSHOT_WORDS = st.sampled_from(
    ["pending", "authorized", "overdue", "partially_paid", "rejected", "expired", "paid", "canceled"]
    + ["partially_refunded", "alert", "disputed", "refunded", "charged_back"] * 2
)
GEN_WORDS = st.sampled_from(
    [
        "pending",
        "authorized",
        "paid",
        "canceled",
        "reversed",
        "rejected",
        "expired",
        "disputed",
        "charged_back",
    ]
)
DATES = st.sampled_from(["dated", "dated", "dated", None])


@st.composite
def snapshots(draw: st.DrawFn) -> Fact:
    second = draw(SECONDS)
    return fact(
        draw(SNAPSHOT_WORDS),
        second,
        refunded_cents=draw(AMOUNTS),
        amount_cents=draw(AMOUNTS),
        occurred_text=_text(draw(DATES), second),
        win_dated=draw(st.booleans()),
        flag=draw(st.sampled_from([None, None, "possible_win"])),
    )


@st.composite
def payments(draw: st.DrawFn) -> Fact:
    second = draw(SECONDS)
    subject, word, cents = draw(st.sampled_from("abc")), draw(GEN_WORDS), draw(AMOUNTS)
    return payment(subject, word, second, cents, occurred_text=_text(draw(DATES), second))


@st.composite
def orders_of_payments(draw: st.DrawFn) -> Fact:
    second = draw(SECONDS)
    return fact(
        None,
        second,
        provider="gen",
        amount_cents=draw(AMOUNTS),
        occurred_text=_text(draw(DATES), second),
    )


@st.composite
def decisions(draw: st.DrawFn, *, kind: str, subjects: str) -> Fact:
    word = draw(st.sampled_from(["disputed", "charged_back", "alert", "paid"]))
    answered = draw(SECONDS)
    subject = draw(st.sampled_from(subjects.split()))
    key = fact(word, answered, kind=kind, subject=subject).key
    decided = draw(st.sampled_from(["lost", "closed"]))
    return decision(decided, key, draw(SECONDS), note=draw(st.sampled_from("xy")))


def _text(dated: str | None, second: int) -> str | None:
    return None if dated is None else f"second {second}"


def of_other_kind(kind: str, words: Sequence[str]) -> st.SearchStrategy[Fact]:
    return st.builds(
        lambda word, second, cents: fact(word, second, kind=kind, amount_cents=cents),
        st.sampled_from(words),
        SECONDS,
        AMOUNTS,
    )


TOLD_ORDER = snapshots() | snapshots() | decisions(kind="order", subjects="o-1")
COMPUTED_ORDER = payments() | payments() | orders_of_payments() | decisions(kind="payment", subjects="a b c")
ONE_ROOT = (
    st.lists(TOLD_ORDER, min_size=1, max_size=9)
    | st.lists(COMPUTED_ORDER, min_size=1, max_size=9)
    | st.lists(COMPUTED_ORDER | snapshots(), min_size=1, max_size=9)  # Bolepix beside payments
    | st.lists(of_other_kind("subscription", ["pending", "active", "past_due", "inactive"]), min_size=1)
    | st.lists(of_other_kind("withdrawal", ["pending", "approved", "rejected"]), min_size=1)
    | st.lists(of_other_kind("cart", ["abandoned"]), min_size=1)
)
