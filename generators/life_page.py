"""The generated part of docs/life-of-a-callback.md: the diagram and the table of the life table."""

from callback_server.domain.case import CaseStatus
from callback_server.domain.life import CLOSED_WITHOUT_CALL, LIFE, STATUS_DURING_CALL, CallEnd


def life_page(page: str) -> str:
    """Return the page with its generated part as the life table says."""
    head, begin, rest = page.partition("by `python3 tasks.py generate`. -->\n")
    _, end, tail = rest.partition("<!-- end of the generated part -->\n")
    return f"{head}{begin}\n{_life_diagram()}\n{_life_table()}\n{end}{tail}"


def _life_diagram() -> str:
    labels: dict[tuple[str, str], list[str]] = {}
    for mode, during in STATUS_DURING_CALL.items():
        if during is not CaseStatus.OPEN:
            labels.setdefault((CaseStatus.OPEN, during), []).append(mode)
    arrows = [f"{start} --> {end}: a call starts ({', '.join(modes)})" for (start, end), modes in labels.items()]
    ends: dict[str, dict[str, list[str]]] = {}
    for mode, rows in LIFE.items():
        for end, effect in rows.items():
            if effect is not None:
                change = f"{STATUS_DURING_CALL[mode]} --> {effect.status} {effect.close_reason or ''}"
                ends.setdefault(change, {}).setdefault(mode, []).append(end)
    for change, modes_of in ends.items():
        arrow, _, reason = change.rpartition(" ")
        label = ", ".join(f"{mode} {' or '.join(each)}" for mode, each in modes_of.items())
        arrows.append(f"{arrow}: {reason + ' (' + label + ')' if reason else label}")
    for status in CaseStatus:
        if status is not CaseStatus.CLOSED:
            arrows += [f"{status} --> {CaseStatus.CLOSED}: {reason}" for reason in CLOSED_WITHOUT_CALL]
    lines = "".join(f"    {arrow}\n" for arrow in arrows)
    return f"```mermaid\nstateDiagram-v2\n    [*] --> {CaseStatus.OPEN}\n{lines}    CLOSED --> [*]\n```\n"


def _life_table() -> str:
    head = "Each cell is the new status of the case, or the close reason of the CLOSED case.\n\n"
    lines = [f"| how the call ended | {' | '.join(f'`{mode}`' for mode in LIFE)} |", "|---" * (len(LIFE) + 1) + "|"]
    for end in CallEnd:
        cells = [rows[end] for rows in LIFE.values()]
        words = (f"`{each.close_reason or each.status}`" if each else "unchanged" for each in cells)
        name = {
            CallEnd.KEPT_OPEN: "`SUCCEEDED`, keeps the case open",
            CallEnd.CLOSED: "`SUCCEEDED`, closes the case",
        }.get(end, f"`{end}`")
        lines.append(f"| {name} | {' | '.join(words)} |")
    lines += ["", "| close reason without a call | cause |", "|---|---|"]
    lines += [f"| `{reason}` | {cause} |" for reason, cause in CLOSED_WITHOUT_CALL.items()]
    return head + "".join(f"{line}\n" for line in lines)
