"""View *Audit*: who changed what, and when. Also its export."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from quart import Blueprint, Response, request

from callback import AuditAction
from callback_console.request_context import attachment, client, page, time_of

blueprint: Final = Blueprint("audit", __name__)

PAGE_SIZE: Final = 50
EXPORT_PAGE_SIZE: Final = 1000
_FILTERS: Final = ("actor", "action", "callback", "owner", "from", "until")
"""Parameters of the address. Times are in UTC."""
_ACTIONS: Final = tuple(each.value for each in AuditAction if each is not AuditAction.UNKNOWN)


@blueprint.get("/audit")
async def show() -> str:
    """Show the entries that match the filters of the address."""
    filters = _filters()
    found = await client().list_audit_entries_page(
        **_selection(filters), page_size=PAGE_SIZE, page_token=request.args.get("page", "")
    )
    given = {name: value for name, value in filters.items() if value}
    return await page(
        "audit.html",
        entries=found.items,
        filters=filters,
        actions=_ACTIONS,
        is_filtered=bool(given),
        is_time_wrong=any(filters[name] and time_of(filters[name]) is None for name in ("from", "until")),
        export=urlencode(given),
        older=urlencode({**given, "page": found.next_page_token}) if found.next_page_token else "",
    )


@blueprint.get("/audit/export")
async def export() -> Response:
    """Stream all entries that match the filters of the address, one a line. No browser opens them as a page."""
    reader, selection = client(), _selection(_filters())
    first = await reader.list_audit_entries_page(**selection, page_size=EXPORT_PAGE_SIZE)  # its error becomes a page

    async def lines() -> AsyncIterator[str]:
        found = first
        while True:
            yield "".join(f"{json.dumps(entry.to_dict(reveal_secrets=True))}\n" for entry in found.items)
            if not found.next_page_token:
                return
            found = await reader.list_audit_entries_page(
                **selection, page_size=EXPORT_PAGE_SIZE, page_token=found.next_page_token
            )

    answer = attachment(lines(), "application/x-ndjson", "audit.ndjson")
    answer.timeout = None
    return answer


def _filters() -> dict[str, str]:
    return {name: request.args.get(name, "").strip() for name in _FILTERS}


def _selection(filters: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a list of entries. What is no action or no time selects nothing."""
    return {
        "actor": filters["actor"],
        "action": AuditAction(filters["action"]) if filters["action"] in _ACTIONS else None,
        "case_id": filters["callback"],
        "owner": filters["owner"],
        "recorded_after": time_of(filters["from"]),
        "recorded_before": time_of(filters["until"]),
    }
