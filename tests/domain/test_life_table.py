"""The life table. The state machine of `store/test_life.py` shows that the scripts do what it says."""

from callback_server.domain import life
from callback_server.domain.call import CallStatus
from callback_server.domain.case import CallMode, CaseStatus, CloseReason
from callback_server.domain.life import LIFE, CallEnd

SPECIFICATION = {
    "SINGLE": "CONSUMED OPEN CONSUMED FAILED FAILED INTERRUPTED OPEN",
    "RETRYABLE": "CONSUMED OPEN CONSUMED OPEN OPEN OPEN OPEN",
    "MULTIPLE": "OPEN OPEN CONSUMED OPEN OPEN OPEN OPEN",
}
"""What a case is after its call SUCCEEDED, kept it open, closed it, was REJECTED, FAILED, INTERRUPTED, or NOT_STARTED.

Written down from the specification by hand, so that a wrong row of the table is noticed.
"""


def test_the_end_of_a_call_does_to_its_case_what_the_specification_says():
    def after(effect):  # without an effect, the case is open as it was during the call
        return (effect.close_reason or effect.status) if effect else CaseStatus.OPEN

    assert {mode: [after(rows[end]) for end in CallEnd] for mode, rows in LIFE.items()} == {
        CallMode(mode): row.split() for mode, row in SPECIFICATION.items()
    }


def test_the_life_table_has_rows_for_all_modes_and_statuses_of_calls():
    assert {mode: set(rows) for mode, rows in LIFE.items()} == {mode: set(CallEnd) for mode in CallMode}
    assert set(life.STATUS_DURING_CALL) == set(CallMode)
    assert {*CallStatus} - {CallStatus.RUNNING} == {*CallEnd} - {CallEnd.KEPT_OPEN, CallEnd.CLOSED}


def test_each_close_reason_has_one_cause():
    by_calls = {effect.close_reason for rows in LIFE.values() for effect in rows.values() if effect}
    assert by_calls - {None} == set(CloseReason) - set(life.CLOSED_WITHOUT_CALL)
