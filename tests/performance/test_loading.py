"""The cases that benchmarks load are those that servers would store."""

from bench.kit.loading import load
from bench.kit.measures import open_case
from support.cases import cases_on
from support.store import StoreProcess

from callback_server.domain.case import CloseReason
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
