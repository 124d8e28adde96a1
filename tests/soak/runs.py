"""What the gate leaves to a soak: the files whose counts are reduced there, and the last soak that each passed.

`python3 tasks.py soak --list` prints it. A soak writes the files that passed into `runs.json`, which is committed.
"""

import ast
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

TESTS = Path(__file__).parents[1]
RUNS = Path(__file__).with_name("runs.json")


def left_out():
    """Return what is reduced in each file: each use of `count`, `combinations` and `SOAK`, by the file's path."""
    sources = {path: path.read_text() for path in sorted(TESTS.rglob("test_*.py"))}
    return {
        str(path.relative_to(TESTS)): list(dict.fromkeys(_reduced(ast.parse(source))))
        for path, source in sources.items()
        if re.search(r"\nfrom soak.counts import .*\b(count|combinations|SOAK)\b", source)
    }


def _reduced(tree):
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="count" | "combinations")):
                yield ast.unparse(node)
            case ast.Name(id="SOAK"):
                yield "more in a soak"


def read(file=RUNS):
    """Return the last soak that each file passed: `seconds`, `date` (UTC) and `commit`, by its path."""
    return json.loads(file.read_text()) if file.exists() else {}


def record(seconds, file=RUNS):
    """Note that files passed a soak now, with the seconds that each took. Others keep their last one.

    The commit ends with `-dirty` if a file differs from it.
    """
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=10", "--dirty"]
    commit = subprocess.check_output(describe, cwd=TESTS, text=True).strip()
    now = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit}
    reduced = left_out()
    runs = read(file) | {path: {"seconds": round(each), **now} for path, each in seconds.items()}
    kept = {path: run for path, run in sorted(runs.items()) if path in reduced}
    file.write_text(json.dumps(kept, indent=1) + "\n")


def main():
    runs, files = read(), left_out()
    for path, reduced in files.items():
        run = runs.get(path)
        print(f"{path}: {run['seconds']} s on {run['date']} at {run['commit']}" if run else f"{path}: not on record")
        for each in reduced:
            print(f"    {each}")
    seconds = sum(run["seconds"] for run in runs.values())
    print(f"{len(files)} files; {len(runs)} of them on record, {seconds / 3600:.1f} h in all")


if __name__ == "__main__":
    main()
