"""The root of a delivery: the id that everything about one order, withdrawal, … shares."""

from projections.facts import ROOT_LENGTH_MAX, Aggregate, Unreadable


def root_name(account: str, aggregate: Aggregate, id_: object, field: str) -> str:
    """`<account>:<aggregate>:<id>`, at most 200 printable characters.

    Raises Unreadable, naming `field`, where the id is missing or cannot be part of a root.
    """
    if id_ is None:
        raise Unreadable(f"{field}: missing")
    if not isinstance(id_, str):
        raise Unreadable(f"{field}: expected str")
    if not id_.strip():
        raise Unreadable(f"{field}: empty")
    root = f"{account}:{aggregate}:{id_}"
    if len(root) > ROOT_LENGTH_MAX:
        raise Unreadable(f"{field}: longer than a root can be ({ROOT_LENGTH_MAX} characters)")
    if not root.isprintable():
        raise Unreadable(f"{field}: holds unprintable characters")
    return root
