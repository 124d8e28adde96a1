"""The difference between a cancelled task, which must end, and a cancelled RPC, which is an ordinary failure."""

import asyncio


def is_being_cancelled() -> bool:
    """Return whether the current task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
