"""The switch between log and spill: what each append and each probe leads to."""

from typing import Final

from service.ingress.switch import PROBE_S, PROBE_S_MAX, Switch

OK: Final = Switch()


def test_deliveries_go_to_the_log_until_an_append_fails() -> None:
    assert OK.takes_log
    assert OK.append_succeeded() == OK
    assert not OK.append_failed().takes_log


def test_only_a_probe_leads_back_to_the_log() -> None:
    away = OK.append_failed()

    assert away.nothing_came() == away
    assert away.probe_succeeded().takes_log


def test_a_trial_is_decided_by_the_next_append_or_by_time() -> None:
    trial = OK.append_failed().probe_succeeded()

    assert trial.mode == "trial"
    assert trial.append_succeeded() == OK
    assert trial.nothing_came() == OK
    assert not trial.append_failed().takes_log


def test_a_log_that_answers_probes_and_takes_nothing_is_tried_ever_more_seldom_up_to_a_limit() -> None:
    switch = OK.append_failed()
    waits = [switch.probe_after_s]
    for _ in range(6):
        switch = switch.probe_succeeded().append_failed()
        waits.append(switch.probe_after_s)

    assert waits[0] == PROBE_S
    assert waits == sorted(waits)
    assert waits[-1] == PROBE_S_MAX
    assert switch.probe_succeeded().append_succeeded().append_failed().probe_after_s == PROBE_S


def test_a_probe_that_comes_late_changes_nothing() -> None:
    assert OK.probe_succeeded() == OK
    assert OK.nothing_came() == OK
