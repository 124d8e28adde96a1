"""A filter for the log of grpc.

grpc logs an exception when it cannot read what a client sent, such as metadata that are not ASCII. The text of the
exception contains what was sent, which can be a credential. The filter keeps the kind of the exception only.

In two places, grpc.aio also prints the exception on standard error, past the log: if it cannot send the error of a
handler, and if an RPC ends by an exception that nothing else caught, such as a cancellation while the loop ends.
"""

from __future__ import annotations

import logging
import traceback
from types import SimpleNamespace

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # its stub is not in types-grpcio


def hide_received_data() -> None:
    """Remove what clients sent from the log of grpc, and print nothing past the log."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_hide)
    # Cython looks the module up by its name at each use.
    cygrpc.traceback = SimpleNamespace(**vars(traceback) | {"print_exc": lambda *_, **__: None})


def _hide(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    record.msg, record.args = "gRPC could not serve a request", ()
    if kind is not None:
        record.msg += f": {kind.__name__}"
    record.exc_info = record.exc_text = None
    return True
