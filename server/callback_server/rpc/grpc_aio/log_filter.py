"""A filter for the log of grpc.

grpc logs an exception when it cannot read what a client sent, such as metadata that are not ASCII. The text of the
exception contains what was sent, which can be a credential. The filter keeps the kind of the exception only.
"""

from __future__ import annotations

import logging


def hide_received_data() -> None:
    """Remove what clients sent from the log of grpc."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_hide)


def _hide(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    record.msg, record.args = "gRPC could not serve a request", ()
    if kind is not None:
        record.msg += f": {kind.__name__}"
    record.exc_info = record.exc_text = None
    return True
