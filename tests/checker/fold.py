"""All facts of one root → its states, as the rows of the state tables. Recomputed whole, every time.

From docs/providers/README.md, section 2; for an order of Gen's also gen.md, section 5.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from tests.checker.course import Flag, Step, course, same
from tests.checker.disputes import disputes
from tests.checker.facts import Fact, parts

State: TypeAlias = dict[str, object]
States: TypeAlias = dict[str, list[State]]
"""Table → its rows; a table without a row is left out."""

_PAYER: Final = ("payer_document", "payer_email", "payer_phone")


def fold(root: str, facts: Iterable[Fact]) -> States:
    """The states that the distinct `facts` of `root` amount to."""
    timeline = sorted(facts, key=lambda fact: fact.order)
    aggregate = parts(root)[1]
    if aggregate == "order":
        return _order(root, timeline)
    if aggregate == "subscription":
        return {"subscription_state": [_subscription(root, timeline)]}
    if aggregate == "withdrawal":
        return {"withdrawal_state": [_withdrawal(root, timeline)]}
    return {"cart_state": [_cart(root, timeline)]}


def _order(root: str, timeline: Sequence[Fact]) -> States:
    decisions = [fact for fact in timeline if fact.form == "decision"]
    told = [fact for fact in timeline if fact.form != "decision"]
    if any(fact.form in ("payment", "invoice") for fact in told):
        state, courses = _order_of_payments(timeline)
    else:
        state, courses = _plain_order(timeline)
    contested, flags = disputes(root, len(timeline), courses, decisions)
    flags |= {flag for steps in courses for step in steps for flag in step.flags}
    last = told[-1] if told else decisions[-1]
    account, _, order_id = parts(root)
    row = {
        "root": root,
        "account": account,
        "order_id": order_id,
        "provider": last.provider,
        "provider_status": _last_word(told or decisions),
        **state,
        "flags": _flags(flags),
        "facts": len(timeline),
    }
    return {"order_state": [row], "dispute_state": contested} if contested else {"order_state": [row]}


def _plain_order(timeline: Sequence[Fact]) -> tuple[State, list[list[Step]]]:
    """An order whose snapshots are its own; as long as it is known by decisions alone it is pending."""
    told = [fact for fact in timeline if fact.form == "snapshot"]
    steps = course(told)
    decided = [("pending", timeline[0].occurred_at)] if timeline[0].form == "decision" else []
    history = _history(decided + [(step.after, step.fact.occurred_at) for step in steps])
    content = _content(told, "amount_cents", "refunded_cents", "reference", "method", "channel", "products")
    return {
        **content,
        **_payer(told),
        "currency": _content(told, "currency")["currency"] or "BRL",
        "status": steps[-1].after if steps else "pending",
        "paid_cents": None,
        "payments": None,
        "total_unknown": False,
        "history": history,
    }, [steps]


def _order_of_payments(timeline: Sequence[Fact]) -> tuple[State, list[list[Step]]]:
    """Gen's: the status is computed from the payments, after each fact, with the total as it is known now."""
    told = [fact for fact in timeline if fact.form != "decision"]
    invoices = [fact for fact in told if fact.form == "invoice"]
    by_payment: dict[str, list[Fact]] = {}
    for fact in told:
        if fact.form == "payment":
            by_payment.setdefault(fact.subject, []).append(fact)
    courses = {subject: course(facts) for subject, facts in by_payment.items()}
    total = _cents(_content(invoices, "amount_cents")["amount_cents"])
    computed = [("pending", timeline[0].occurred_at)] if timeline[0].form == "decision" else []
    unknown = False
    for count in range(1, len(told) + 1):
        known = set(map(id, told[:count]))
        so_far = [
            seen for steps in courses.values() if (seen := [step for step in steps if id(step.fact) in known])
        ]
        status, unknown = _computed(so_far, total)
        computed.append((status, told[count - 1].occurred_at))
    paid = [steps for steps in courses.values() if steps[-1].after == "paid"]
    payments = [fact for fact in told if fact.form == "payment"]
    return {
        **_content(invoices, "amount_cents", "reference"),
        **_payer(invoices),
        "status": computed[-1][0],
        "refunded_cents": None,
        "paid_cents": _sum([_cents(_of(steps)["total_cents"]) for steps in paid]),
        "currency": "BRL",
        "method": _content(payments, "method")["method"],
        "channel": None,
        "products": None,
        "payments": [_payment(subject, steps) for subject, steps in courses.items()],
        "total_unknown": unknown,
        "history": _history(computed),
    }, list(courses.values())


def _computed(payments: Sequence[Sequence[Step]], total: int | None) -> tuple[str, bool]:
    """The order's status by its payments' steps so far, and whether something had to be guessed."""
    now = [steps[-1].after for steps in payments]
    for contested in ("charged_back", "disputed"):
        if contested in now:
            return contested, False
    ever_paid = [steps for steps in payments if any(step.after == "paid" for step in steps)]
    paid = [steps for steps in ever_paid if steps[-1].after == "paid"]
    net = _shares(paid)
    if paid and (net is None or net > 0):
        return _with_money(ever_paid, total, net)
    if ever_paid:
        return "refunded", False
    for alive in ("authorized", "pending"):
        if alive in now:
            return alive, False
    if not payments:
        return "pending", False
    return max(payments, key=_told_at)[-1].after, False


def _told_at(steps: Sequence[Step]) -> tuple[int, int, int, str]:
    """Where its last snapshot stands. Those in a row that say the same are one, and it stands first."""
    begins = [n for n, step in enumerate(steps) if n == 0 or not same(steps[n - 1].fact, step.fact)]
    return steps[begins[-1]].fact.order


def _with_money(ever_paid: Sequence[Sequence[Step]], total: int | None, net: int | None) -> tuple[str, bool]:
    once = _shares(ever_paid)
    # As line (4) has it: what was paid once and is not any more was given back.
    given_back = any(steps[-1].after != "paid" for steps in ever_paid)
    if total is None or net is None:
        return ("partially_refunded" if given_back else "paid"), True
    if net >= total:
        return "paid", False
    if once is None:
        return ("partially_refunded" if given_back else "partially_paid"), True
    return ("partially_refunded" if once >= total else "partially_paid"), False


def _shares(payments: Sequence[Sequence[Step]]) -> int | None:
    """Σ of what each covers of the order's total; null if one of them is unknown."""
    return _sum([_cents(_of(steps)["share_cents"]) for steps in payments])


def _payment(subject: str, steps: Sequence[Step]) -> State:
    content = _content([step.fact for step in steps], "total_cents", "reference", "method")
    return {"id": subject, "status": steps[-1].after, **content}


def _subscription(root: str, timeline: Sequence[Fact]) -> State:
    account, _, identifier = parts(root)
    return {
        "root": root,
        "account": account,
        "subscription_id": identifier,
        "provider": timeline[-1].provider,
        "status": timeline[-1].status,
        "provider_status": _last_word(timeline),
        **_content(timeline, "reference"),
        **_payer(timeline),
        "flags": _flags(
            Flag("reactivated", fact.occurred_at)
            for earlier, fact in pairwise(timeline)
            if earlier.status == "inactive" != fact.status
        ),
        "history": _history([(str(fact.status), fact.occurred_at) for fact in timeline]),
        "facts": len(timeline),
    }


def _withdrawal(root: str, timeline: Sequence[Fact]) -> State:
    account, _, identifier = parts(root)
    return {
        "root": root,
        "account": account,
        "withdrawal_id": identifier,
        "provider": timeline[-1].provider,
        "status": timeline[-1].status,
        "provider_status": _last_word(timeline),
        **_content(timeline, "amount_cents", "currency", "reference"),
        # Also with a `pending` in between: the bank bounced what had been accepted.
        "flags": _flags(
            Flag("decision_reversed", fact.occurred_at)
            for earlier, fact in pairwise([fact for fact in timeline if fact.status != "pending"])
            if earlier.status != fact.status
        ),
        "history": _history([(str(fact.status), fact.occurred_at) for fact in timeline]),
        "facts": len(timeline),
    }


def _cart(root: str, timeline: Sequence[Fact]) -> State:
    account, _, identifier = parts(root)
    return {
        "root": root,
        "account": account,
        "cart_id": identifier,
        "provider": timeline[-1].provider,
        "status": "abandoned",
        **_content(timeline, "amount_cents", "products", "recovery_url"),
        "currency": "BRL",
        **_payer(timeline),
        "abandoned_at": timeline[0].occurred_at,
        "flags": [],
        "history": _history([("abandoned", timeline[0].occurred_at)]),
        "facts": len(timeline),
    }


def _content(timeline: Iterable[Fact], *names: str) -> State:
    """Member by member, that of the last fact that carries it."""
    latest: State = dict.fromkeys(names)
    for fact in timeline:
        latest |= {name: fact.content[name] for name in names if name in fact.content}
    return latest


def _of(steps: Sequence[Step]) -> State:
    return _content([step.fact for step in steps], "total_cents", "share_cents")


def _payer(timeline: Iterable[Fact]) -> State:
    return _content(timeline, *_PAYER)


def _cents(value: object) -> int | None:
    assert value is None or isinstance(value, int)
    return value


def _sum(amounts: Sequence[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _last_word(timeline: Sequence[Fact]) -> str:
    return next((fact.word for fact in reversed(timeline) if fact.word is not None), "")


def _flags(flags: Iterable[Flag]) -> list[State]:
    by_instant = sorted(set(flags), key=lambda flag: (flag.occurred_at, flag.name))
    return [{"name": flag.name, "occurred_at": flag.occurred_at} for flag in by_instant]


def _history(statuses: Iterable[tuple[str, int]]) -> list[State]:
    history: list[State] = []
    for status, at in statuses:
        if not history or history[-1]["status"] != status:
            history.append({"status": status, "began_at": at})
    return history
