"""Rules that list cases and calls in pages."""

from hypothesis import strategies as st
from hypothesis.stateful import rule
from model.life import CLOSED, IN_PROGRESS, OPEN
from store.machine.system import System
from store.machine.values import labels
from support.pages import pages

from callback_server.store.queries.list_cases import list_cases
from callback_server.store.queries.list_owner_calls import CallFilter, list_owner_calls


class Lists(System):
    """Rules for lists."""

    @rule(owner=st.sampled_from(["shop", "other"]), status=st.sampled_from([None, OPEN, IN_PROGRESS, CLOSED]),
          activity=st.sampled_from([None, "push", "record"]), labels=labels, size=st.integers(1, 4))  # fmt: skip
    def list_in_pages(self, owner, status, activity, labels, size):
        expected = [
            case_id for case_id, model in self.model.items()
            if model.owner == owner and status in (None, model.status) and activity in (None, model.activity)
            and labels.items() <= model.labels.items()
        ]  # fmt: skip
        found = self._in_pages(
            lambda after: list_cases(
                self.scripts,
                owner=owner,
                activities=[activity] if activity else [],
                status=status,
                labels=labels,
                after=after,
                limit=size,
            )
        )
        assert found == expected[::-1]

    @rule(owner=st.sampled_from(["shop", "other"]), size=st.integers(1, 3),
          mark=st.sampled_from([CallFilter.WAITING, CallFilter.DEAD, CallFilter.ENDED]))  # fmt: skip
    def list_marked_in_pages(self, owner, mark, size):
        found = self._in_pages(lambda after: list_owner_calls(self.scripts, mark, owner=owner, after=after, limit=size))
        assert (set(found), len(found)) == (self._marked(mark, owner), len(set(found)))

    def _in_pages(self, read):
        async def found():
            return [each async for page in pages(read) for each in page]

        return self.do(found())
