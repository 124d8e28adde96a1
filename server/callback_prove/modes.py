"""The modes of callbacks that a proof uses, one for each row of what is promised."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from callback import AnswerMode

REPEAT_WINDOW: Final = timedelta(minutes=2)
"""How long a callback for multiple calls recognizes the same request: as long as the others do by default."""


@dataclass(frozen=True)
class Mode:
    """How the cases of a mode are generated, and what follows from that."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `generate_callback_url`."""
    activity: str = ""
    """Its activity. Empty: one of those that the handlers of the system serve."""
    is_single_use: bool = True
    runs_once: bool = True
    """Whether the handler runs at most once for each call."""
    ends_at_claim: bool = False
    """Whether a call succeeds when it is stored, so that it has no event of its start."""


MODES: Final[Mapping[str, Mode]] = {
    "single": Mode(),
    "retryable": Mode({"retryable_after_error": True}),
    # Its default is that each request is a call, also the same one again.
    "multiple": Mode({"allow_multiple_calls": True, "repeat_window": REPEAT_WINDOW}, is_single_use=False),
    "held": Mode({"answer_mode": AnswerMode.HOLD}),
    "ack": Mode({"answer_mode": AnswerMode.ACK}, runs_once=False, ends_at_claim=True),
    "record": Mode(activity="record", ends_at_claim=True),
}
