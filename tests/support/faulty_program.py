"""What the programs under test for `callback_conform` have in common that run in this process and break one rule."""

import asyncio


class FaultyProgram:
    """A program, with the interface of one in a process of its own. `fault` is the rule that it breaks; empty: none.

    It is what `_run` of a subclass does.
    """

    def __init__(self, fault, variables, changes):
        self.fault = fault
        self.lines = []
        self.exit_code = None
        self._variables = variables
        self._changes = changes
        self._running = asyncio.create_task(self._run())

    @classmethod
    def launch(cls, fault):
        """Return how to start a program with a fault."""

        async def start(variables, changes):
            return cls(fault, variables, changes)

        return start

    def say(self, event, call_id):
        self.lines.append(f"{event} {call_id}")
        self._changes.notify()

    def write(self, _line):
        """It reads nothing."""

    async def kill(self):
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
