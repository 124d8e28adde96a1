"""Runs of the conformance scenarios, for the workers and clients of every language."""

import asyncio

from callback_conform.main import run_scenarios

LONG = (
    "a call that is confirmed only after", "a worker without a Welcome", "a connection that hangs",
    "after a Welcome the pauses", "a server that is not", "a token file that cannot",
    "a file with authorities that cannot",
)  # fmt: skip
"""How the names of the scenarios begin that last for seconds by themselves."""


async def run(kind, scenarios, launch, **settings):
    """Run scenarios one after the other, and return their results."""
    return [each async for each in run_scenarios(kind, scenarios, launch, **settings)]


async def results(launch, scenarios, kind="worker"):
    """Run each long scenario, and the others in two groups, at the same time. Return the results by name."""
    short = [each for each in scenarios if not is_long(each)]
    groups = [*([each] for each in scenarios if is_long(each)), short[::2], short[1::2]]
    found = await asyncio.gather(*(run(kind, group, launch) for group in groups if group))
    by_name = {each.scenario.name: each for group in found for each in group}
    return {each.name: by_name[each.name] for each in scenarios}


async def failures(launch, scenarios, kind="worker"):
    """Run scenarios as `results` does. Return what went wrong, each with the name of its scenario."""
    found = await results(launch, scenarios, kind)
    return [(name, each.problem) for name, each in found.items() if each.problem is not None]


def is_long(scenario):
    """Return whether a scenario lasts for seconds by itself."""
    return scenario.name.startswith(LONG)
