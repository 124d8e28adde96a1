"""The conformance matrix: each client, installed as a package, in each scenario. `matrix.py [--format table|tap]`."""

import argparse
import asyncio
import dataclasses
import sys
import tempfile
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.conformance import results
from support.installed import KINDS, build_node, install_go, install_node, install_python

from callback_conform.program import launch_command
from callback_conform.report import Tap
from callback_conform.scenarios import load


def install(folder):
    """Install each client in a folder of its own. Return the commands of its programs by language and kind."""
    build_node()
    commands = {}
    for language, install_one in {"Python": install_python, "Go": install_go, "Node": install_node}.items():
        print(f"installing the package for {language} …", file=sys.stderr)
        (folder / language).mkdir()
        commands[language] = install_one(folder / language)
    return commands


async def run(commands, folder):
    """Run every scenario with each program. Return the results by kind and language."""
    found = {kind: {} for kind in KINDS}
    for language, programs in commands.items():
        for kind in KINDS:
            print(f"{language}: the scenarios of a {kind} …", file=sys.stderr)
            launch = launch_command(programs[kind], folder / f"{language}-{kind}.errors")
            found[kind][language] = await results(launch, load(kind), kind)
    return found


def table(found):
    """Return the matrix as text: a line for each scenario, and a column for each language."""
    names = {kind: list(next(iter(of.values()))) for kind, of in found.items()}
    width = max(len(name) for each in names.values() for name in each)
    lines, problems = [], []
    for kind, of in found.items():
        lines.append(f"{f'a {kind}':{width}}  {'  '.join(f'{language:6}' for language in of)}".rstrip())
        for name in names[kind]:
            words = ("passed" if each[name].problem is None else "FAILED" for each in of.values())
            lines.append(f"{name:{width}}  {'  '.join(words)}")
        for language, each in of.items():
            passed = sum(result.problem is None for result in each.values())
            problems += [
                f"FAILED {language}, {kind}: {name}\n{textwrap.indent(result.problem, '        ')}"
                for name, result in each.items()
                if result.problem is not None
            ]
            lines.append(f"{language}: {passed} of {len(each)} passed")
    return "\n".join([*lines, *problems])


def in_one_list(found):
    """Return all results, each with its language in the name of its scenario."""
    return [
        dataclasses.replace(result, scenario=dataclasses.replace(result.scenario, name=f"{language} {kind}: {name}"))
        for kind, of in found.items()
        for language, each in of.items()
        for name, result in each.items()
    ]


def main():
    """Run the matrix, and return the exit code: 1 if a scenario fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "tap"), default="table")
    format_ = parser.parse_args().format
    with tempfile.TemporaryDirectory(prefix="callback-matrix-") as made:
        folder = Path(made)
        found = asyncio.run(run(install(folder), folder))
    every = in_one_list(found)
    print(Tap([each.scenario for each in every], ()).whole(every) if format_ == "tap" else table(found))
    return int(any(each.problem is not None for each in every))


if __name__ == "__main__":
    sys.exit(main())
