"""Whose cancellation it is: of the task, which has to end, or of what it waits for, which is a failure like others."""

import asyncio


def is_being_cancelled() -> bool:
    """Whether somebody has asked the running task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
