"""The client driver under test for the Python package: what clients/conformance/README.md asks of one.

`callback conform --client -- python clients/conformance/python/client.py` runs it.
"""

import json
import os
import sys
from typing import Any

from callback import CallbackClient, CallbackError, GetGuard, Prompt, Response, Tls


def run(client: CallbackClient, command: dict[str, Any]) -> dict[str, Any]:
    """Do what a command says, and return its result."""
    timeout = command.get("timeout_s")
    match command["do"]:
        case "generate":
            choices = command.get("choices", ())
            made = client.generate_callback_url(
                "\ud800" if "is_no_unicode" in command else command["activity"],
                Response(b"ok"),
                get_guard=GetGuard.CONFIRM if choices else None,
                prompt=Prompt(title="Choose", choices=dict(zip(choices, choices, strict=True))) if choices else None,
                request_id=command.get("request_id", ""),
                timeout=timeout,
            )
            return {"case_id": made.case_id, "url": made.url}
        case "get":
            found = client.get_callback(command["case_id"], timeout=timeout)
            return {"case_id": found.case_id, "activity": found.activity, "status": found.status}
        case "watch":
            events = []
            with client.watch_calls(
                case_id=command.get("case_id", ""), resume_token=command.get("resume_token", ""), timeout=timeout
            ) as watch:
                while len(events) < command["count"]:
                    event = next(watch)
                    events.append({"type": event.type, "case_id": event.case_id, "call_id": event.call_id})
                return {"events": events, "resume_token": watch.resume_token}
        case "wait":
            return {"call_id": client.wait_for_call(command["case_id"], timeout=command["timeout_s"]).call_id}
        case "close":
            client.close()
            return {}
        case other:
            raise ValueError(other)


def error_of(error: CallbackError) -> dict[str, Any]:
    """Return an error as an object."""
    return {
        "reason": error.reason,
        "code": error.code.name,
        "facts": dict(error.facts),
        "retry_after_s": None if error.retry_after is None else error.retry_after.total_seconds(),
        "violations": [
            {"field": each.field, "description": each.description, "rule": each.rule} for each in error.violations
        ],
    }


def main() -> None:
    """Run the commands of standard input, one a line, until its end."""
    ca_file = os.environ["CALLBACK_CA_FILE"]
    with CallbackClient(
        os.environ["CALLBACK_TARGET"],
        tls=Tls(ca_file) if ca_file else None,
        token_file=os.environ["CALLBACK_TOKEN_FILE"],
    ) as client:
        for line in sys.stdin:
            try:
                result = {"ok": run(client, json.loads(line))}
            except CallbackError as error:
                result = {"error": error_of(error)}
            except TimeoutError:
                result = {"error": {"code": "DEADLINE_EXCEEDED"}}
            except ValueError:  # of an argument
                result = {"refused": True}
            print(json.dumps(result), flush=True)  # noqa: T201  # the interface of the program


if __name__ == "__main__":
    main()
