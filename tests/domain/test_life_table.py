"""The life table: it has every row, and no row contradicts the meaning of its mode."""

import pytest

from callback_server.domain import life
from callback_server.domain.call import CallStatus
from callback_server.domain.case import CallMode, CaseStatus, CloseReason
from callback_server.domain.life import LIFE, CallEnd


def test_the_life_table_has_a_row_for_each_mode_and_each_end_of_a_call():
    assert {mode: set(rows) for mode, rows in LIFE.items()} == {mode: set(CallEnd) for mode in CallMode}
    assert set(life.STATUS_DURING_CALL) == set(CallMode)
    assert {*CallStatus} - {CallStatus.RUNNING} == {*CallEnd} - {CallEnd.KEPT_OPEN, CallEnd.CLOSED}


@pytest.mark.parametrize("mode", CallMode)
def test_a_call_that_never_started_or_kept_the_case_open_does_not_close_it(mode):
    for end in (CallEnd.NOT_STARTED, CallEnd.KEPT_OPEN):
        effect = LIFE[mode][end]
        assert effect is None or (effect.status, effect.close_reason) == (CaseStatus.OPEN, None)


def test_only_a_success_closes_a_retryable_case_and_only_its_handler_a_case_for_multiple_calls():
    closing = {
        mode: {end for end, effect in rows.items() if effect and effect.close_reason} for mode, rows in LIFE.items()
    }
    assert closing[CallMode.RETRYABLE] == {CallEnd.SUCCEEDED, CallEnd.CLOSED}
    assert closing[CallMode.MULTIPLE] == {CallEnd.CLOSED}
    assert closing[CallMode.SINGLE] == set(CallEnd) - {CallEnd.NOT_STARTED, CallEnd.KEPT_OPEN}


def test_each_close_reason_has_one_cause():
    by_calls = {effect.close_reason for rows in LIFE.values() for effect in rows.values() if effect}
    assert by_calls - {None} == set(CloseReason) - set(life.CLOSED_WITHOUT_CALL)
