"""The life table has every row."""

from callback_server.domain import life
from callback_server.domain.call import CallStatus
from callback_server.domain.case import Mode
from callback_server.domain.life import LIFE, CallEnd


def test_the_life_table_has_a_row_for_each_mode_and_each_end_of_a_call():
    assert {mode: set(rows) for mode, rows in LIFE.items()} == {mode: set(CallEnd) for mode in Mode}
    assert set(life.STATUS_DURING_CALL) == set(Mode)
    assert {*CallStatus} - {CallStatus.RUNNING} == {*CallEnd} - {CallEnd.KEPT_OPEN}
