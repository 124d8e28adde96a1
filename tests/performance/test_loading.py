"""The cases and calls that benchmarks load are those that servers would store."""

from bench.kit.loading import load, load_calls
from bench.kit.measures import open_case
from support.cases import cases_on
from support.store import StoreProcess

from callback_server.domain import ids
from callback_server.domain.case import AnswerMode, CloseReason
from callback_server.store import keys
from callback_server.store.queries.read import read_case

COUNT = 30


async def test_benchmarks_load_open_and_closed_cases(tmp_path):
    with StoreProcess(tmp_path) as store:
        await load(store, range(COUNT), open_case, is_closed=lambda number: number % 3 == 0)
        async with cases_on(store) as cases:
            loaded = [await read_case(cases.scripts, open_case(number).id) for number in range(COUNT)]
        assert [case.close_reason for case in loaded] == [
            CloseReason.CLOSED_BY_OWNER if number % 3 == 0 else None for number in range(COUNT)
        ]
        assert all(case.response == open_case(number).response for number, case in enumerate(loaded))


async def test_benchmarks_load_calls_whose_deliveries_are_due(tmp_path):
    with StoreProcess(tmp_path) as store:
        async with cases_on(store) as cases:
            state = ids.new_state()
            case = await cases.new(states=[state], answer_mode=AnswerMode.ACK)
            await load_calls(store, state, COUNT, b"0")
            taken, _ = await cases.take(keys.partition_of(case.id))
    assert len({attempt.grant.call_id for attempt in taken}) == COUNT
