"""The settings of the machine, and the values that its rules choose from."""

from hypothesis import strategies as st
from model.life import FAILED, NOT_STARTED, REJECTED, SUCCEEDED

from callback_server.domain.activity import Activity, Leases
from callback_server.domain.call import Request
from callback_server.domain.case import Fallback, Prompt
from callback_server.domain.response import Response, ResponseType, complete
from callback_server.store.packing import MAX_INLINE_BODY_BYTES
from callback_server.store.recording import Recording

KEEP = 1
KEPT_BYTES = 1200
RECORDING = Recording(calls_per_case=KEEP, repeat_bytes_per_case=KEPT_BYTES)
RETENTION_MS = 3_600_000
PAST_RETENTION_MS = -60_000  # past the retention of all that has ended, unless a window is not over
# A test can take longer than a lease of the product. Without a deadline of its own, an activity of stored data has the
# default lease, and the machine distinguishes it from one that is due by its length.
LEASES = Leases({"push": Activity("push", deadline_ms=3_600_000)}, default_ms=3_600_000)
WINDOW_MS = 3_600_000
PER_MINUTE = 2
OVER_MS = 7
MOST_HELD = 2
RESOLVED_AT_ONCE = 1
REMIND_AFTER_MS = (3_600_000, 7_200_000)
FAR_MS = 4_000_000_000_000  # the year 2096
BRIEFLY_MS = 60_000  # an answer that no window keeps is kept for this time, at most
EARLY, MIDDLE, LATE = 10, 20, 30  # milliseconds after the epoch: due, in this order
CAME = Request("post", headers=(("x-came", "1"),), body=b"body")
GAVE = (("x-gave", "1"),)
PLATFORM_URL = "https://platform.example"
MOST_CASES = 5
CHOICES = Prompt("Agree?", choices=(("yes", "Yes"), ("no", "No")))
FALLBACK = Fallback(100, Response(type=ResponseType.RESPONSE, body=b"later"))
LEFT = complete(Response(type=ResponseType.RESPONSE, code=200), platform_url=None)
GONE = Response(type=ResponseType.PAGE, code=410, heading="Done")
DIGESTS = ("", "a" * 64, "b" * 64)
ends = st.sampled_from([SUCCEEDED, SUCCEEDED, REJECTED, FAILED, NOT_STARTED])
bodies = st.sampled_from(
    [
        b"",
        b"one",
        b"\x00\xff two",
        b"apart".ljust(MAX_INLINE_BODY_BYTES + 1),
        b"also apart".ljust(MAX_INLINE_BODY_BYTES + 2),
    ]
)
labels = st.dictionaries(st.sampled_from(["team", "a/b"]), st.sampled_from(["x", "", "x:y}{\0ü"]), max_size=2)
