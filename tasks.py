"""Tasks of this repository: `python3 tasks.py TASK`.

This file needs only Python 3.11 or newer. A task sets up its environment in `.venv`, from `requirements/*.lock` with
hashes, and continues there. `python3 tasks.py` prints the docstring of each task.
"""

import ast
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

if sys.version_info < (3, 11):  # noqa: UP036  # the message is for users of an older Python
    sys.exit(f"Callback needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: python3.13 tasks.py …")

import importlib.util
import inspect
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
MEMORY = Path("/dev/shm")  # noqa: S108  # pytest makes a folder in it that only this user can read
BIN = VENV / "bin"
LOCKS = {name: ROOT / "requirements" / f"{name}.lock" for name in ("up", "dev", "image", "bench", "guides")}
"""Locks: what runs; the same with tools for development and tests; that with tools for plots, and with the libraries of
the guides for other systems."""
OLDEST_LOCK = ROOT / "requirements" / "oldest.lock"
"""The client alone, with the oldest versions that pyproject.toml allows: `tests/packaging/test_install.py`."""

SYSTEM_PACKAGES = {
    "chromium-headless-shell": "chromium-headless-shell",
    "curl": "curl",
    "docker-compose": "docker-compose",
    "gcc": "gcc libc6-dev",
    "haproxy": "haproxy",
    "nginx": "nginx",
    "php": "php-cli",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "slowhttptest": "slowhttptest",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "xmlsec1": "xmlsec1",
}
"""Programs that tests run, and the Debian packages that contain them."""
LANGUAGES = {"Go": ("go gcc", "go version", "1.24"), "Node": ("node npm", "node --version", "20.0")}
"""The languages of the other clients: programs that their tasks run, the command that prints the version of the
toolchain, and the least version."""
BENCH_PACKAGES = {"h2load": "nghttp2-client", "webhook": "webhook", "wrk": "wrk"}
"""The Debian packages of benchmarks, as in SYSTEM_PACKAGES."""
TESTS_FAILED = 1
"""The status of pytest when all tests ran and some failed."""
FEW = 10
"""So many tests that fail among all others run again by themselves."""


# ---- Tasks, in the order of the list ----


def up(*arguments: str) -> NoReturn:
    """Set up, then run Callback on this machine: `up [--demo] [--data-dir DIR] [--edge HOST:PORT] [--grpc HOST:PORT]`.

    The first run installs what it needs; later runs start at once. Ctrl-C stops it.
    """
    set_up("up")
    replace_this_process(BIN / "callback", "up", *arguments)


def quick(*arguments: str) -> None:
    """Set up, then run short tests without a store and a browser: the loop while you write code. `quick PYTEST ARGS`.

    The folders and files are in `tests/conftest.py`.
    """
    enter("dev")
    if MEMORY.is_dir():  # the files are small, and there they are made and deleted in a second less
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    kept = "tmp_path_retention_policy=failed"
    run_pytest("--quick", "--quiet", "--numprocesses=2", "--override-ini", kept, *arguments)


def test(*arguments: str) -> None:
    """Set up, then run what CI runs: all tests, and beside them lint, types and generate --check.

    `test ARGS` is `pytest ARGS` alone. If at most ten of all tests fail, these run once more by themselves, and those
    that pass then are named at the end.

    As root, it installs the system packages that tests use with apt. Otherwise it prints the missing ones, and the
    tests that need them are skipped. It names the languages whose tests are skipped, because their toolchain is missing
    or too old. Under CI (`CI=true`) a missing package or toolchain is an error.
    """
    enter("dev")
    require_system_packages(SYSTEM_PACKAGES)
    require_languages()
    if arguments:
        run_pytest(*arguments)
        return
    with ThreadPoolExecutor() as threads:
        checks = [threads.submit(run_check, *check) for check in (["lint"], ["types"], ["generate", "--check"])]
        # Many tests wait, so four processes keep two cores busy. Tests of one file run together, because they share
        # fixtures. The order of the files is that of tests/conftest.py: xdist would run files with few tests last, and
        # some of these take longest. A crash of a test process ends the run: xdist with loadfile would wait for the
        # tests of the lost one without end.
        run_all("--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder", "--max-worker-restart=0")
    if failed := [check for check in map(Future.result, checks) if check]:
        sys.exit(f"failed, see above: {', '.join(failed)}")


def soak(*arguments: str) -> None:
    """Run all tests with full counts: `soak [PYTEST ARGS]`. It takes hours and uses the whole machine.

    `soak --list` prints what `test` leaves to it: the files, their counts, and the last soak that each passed.
    """
    enter("dev")
    if arguments == ("--list",):
        run("python", ROOT / "tests" / "soak" / "runs.py")
        return
    require_system_packages(SYSTEM_PACKAGES)
    os.environ["CALLBACK_SOAK"] = "1"
    run_pytest("--timeout=0", *arguments)


def guides(*arguments: str) -> None:
    """Set up, then run the guides for other systems with the libraries of these: `guides [PYTEST ARGS]`.

    `test` skips these tests, because the libraries are large.
    """
    enter("guides")
    run_pytest("tests/flows/test_other_systems.py", *arguments)


def matrix(*arguments: str) -> None:
    """Install each client as a package, and run every conformance scenario with each: `matrix [--format table|tap]`.

    It takes some minutes. It needs Go and Node.
    """
    enter("dev")
    if problems := [problem for language in LANGUAGES if (problem := language_problem(language))]:
        sys.exit(f"the matrix needs every language: {'; '.join(problems)}")
    run("python", ROOT / "tests" / "languages" / "matrix.py", *arguments)


def stubs(*languages: str) -> None:
    """Generate stubs from the released contract and compile them: `stubs [LANGUAGE …]`, by default in each language.

    It names the languages whose toolchain is missing, with the Debian packages that have it.
    """
    enter("dev")
    run("python", ROOT / "tests" / "languages" / "stubs.py", *languages)


def bench(*arguments: str) -> None:
    """Measure: `bench NAME [ARGS]` runs `tests/bench/NAME.py`; without a name, list the benchmarks."""
    enter("bench")
    require_system_packages(BENCH_PACKAGES)
    known = {path.stem: path for path in sorted((ROOT / "tests" / "bench").glob("*.py"))}
    name, *rest = arguments or [""]
    if name not in known:
        for stem, path in known.items():
            print(f"  {stem}: {(ast.get_docstring(ast.parse(path.read_text())) or '').splitlines()[0]}")
        sys.exit(f"no such benchmark: {name}" if name else 0)
    run("python", known[name], *rest)


def script(*arguments: str) -> None:
    """Print a Lua script as the store gets it, with the numbers of its lines: `script NAME`; without it, list all."""
    enter("dev")
    from callback_server.store.scripts import Script

    known = sorted(path.stem for path in (ROOT / "server" / "callback_server" / "store" / "lua").glob("*.lua"))
    name = " ".join(arguments)
    if name not in known:
        print(*known, sep="\n")
        sys.exit(f"no such script: {name}" if name else 0)
    print(*(f"{number:5}  {line}" for number, line in enumerate(Script(name).source.splitlines(), 1)), sep="\n")


def lint() -> None:
    """Check style: ruff for Python, codespell for spelling, buf for the contract, also against its last release."""
    enter("dev")
    run("ruff", "check")
    run("ruff", "format", "--check")
    run("codespell")
    run("buf", "lint", "proto")
    run("buf", "format", "proto", "--path", "proto/callback", "--diff", "--exit-code")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "now.binpb")
        run("buf", "build", "proto", "--path", "proto/callback", "--output", image)
        against = ["--against", "proto/baseline.binpb", "--config", "proto/buf.yaml"]
        run("buf", "breaking", image, *against, "--exclude-imports")


def types() -> None:
    """Check types, strictly: all packages, then this file and the generators."""
    enter("dev")
    run("mypy")
    run("mypy", "tasks.py", "generators")


def generate(*arguments: str) -> None:
    """Generate code and docs: `--check` changes nothing, and fails if a generated file is out of date.

    From the contract it generates the stubs, values and methods of the Python client, the options of the command line,
    the OpenAPI document and the compiled contract of server reflection; with Go and Node, the same of their clients. It
    makes docs/settings.md from the settings, docs/provider-list.md from the files of the providers, and the diagram and
    table of docs/life-of-a-callback.md from the life table.
    """
    enter("dev")
    from generators.everything import changed_code, changed_pages

    def can_generate(language: str) -> bool:
        if problem := language_problem(language):
            print(f"not generated and not checked: {problem}", file=sys.stderr)
        return problem is None

    for changed in (functools.partial(changed_code, can_generate), changed_pages):
        changes = changed()
        if "--check" in arguments and changes:
            names = ", ".join(str(path.relative_to(ROOT)) for path in changes)
            sys.exit(f"out of date; run python3 tasks.py generate: {names}")
        for path, content in changes.items():
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            print(f"{'removed' if content is None else 'generated'} {path.relative_to(ROOT)}")


def lock(*arguments: str) -> None:
    """Write requirements/*.lock from pyproject.toml, and keep versions that fit; `lock --upgrade` takes the newest."""
    enter("dev")
    compile_lock = ["uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--python-version", "3.11"]
    compile_lock += ["--generate-hashes", "--no-emit-index-url", "--custom-compile-command", "python3 tasks.py lock"]
    run(*compile_lock, "--resolution", "lowest-direct", "--output-file", OLDEST_LOCK)
    compile_lock += ["--extra", "up", *arguments]
    run(*compile_lock, "--group", "build", "--output-file", LOCKS["up"])
    compile_lock += ["--extra", "otel"]
    run(*compile_lock, "--group", "dev", "--constraint", LOCKS["up"], "--output-file", LOCKS["dev"])
    run(*compile_lock, "--group", "build", "--constraint", LOCKS["dev"], "--output-file", LOCKS["image"])
    for kind in ("bench", "guides"):
        run(*compile_lock, "--group", kind, "--constraint", LOCKS["dev"], "--output-file", LOCKS[kind])


def build() -> None:
    """Build the wheel, the source distribution and the archive of the contract into dist/."""
    enter("dev")
    run("python", "-m", "hatchling", "build", "--directory", "dist")
    from generators.descriptors import archive_contract

    print(archive_contract(ROOT / "dist"))


def sbom(*arguments: str) -> None:
    """List every dependency with its version and licence, and write the list (CycloneDX) to dist/sbom.cdx.json.

    `sbom FILE` writes it elsewhere. It has what runs: the Python packages of requirements/up.lock, the Go modules and
    the npm packages of the clients.
    """
    enter("dev")
    from generators.sbom import dependencies, document, line

    file = Path(*arguments) if arguments else ROOT / "dist" / "sbom.cdx.json"
    found = dependencies()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document(found) + "\n")
    print(*map(line, found), f"{file}: {len(found)} dependencies", sep="\n")


def docs(*arguments: str) -> None:
    """Build the documentation as a site, into dist/docs; `docs --site-dir DIR` builds it elsewhere.

    A link or an anchor that leads nowhere is an error.
    """
    enter("dev")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the hooks of mkdocs.yml
    os.environ["NO_MKDOCS_2_WARNING"] = "true"
    run("mkdocs", "build", "--strict", *arguments)


TASKS: dict[str, Callable[..., None]] = {name: each for name, each in [*globals().items()] if inspect.isfunction(each)}
"""The tasks: each function above, in their order."""


def main(arguments: list[str]) -> None:
    """Run the task of the first argument with the other arguments; without arguments, list the tasks."""
    name, *rest = arguments or ["help"]
    if name not in TASKS:
        for known, task in TASKS.items():
            print(
                f"  {known:9} " + "\n            ".join((inspect.getdoc(task) or "").replace("\n\n", "\n").split("\n"))
            )
        sys.exit(0 if name in ("help", "-h", "--help") else f"\nno such task: {name}")
    try:
        inspect.signature(TASKS[name]).bind(*rest)
    except TypeError:
        sys.exit(f"{name} takes no arguments")
    os.chdir(ROOT)
    try:
        TASKS[name](*rest)
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)


# ---- The environment ----


def enter(kind: str) -> None:
    """Set up `.venv`, and restart this task with the Python of `.venv` unless it already runs there."""
    set_up(kind)
    if not os.environ["PATH"].startswith(f"{BIN}{os.pathsep}"):
        os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    if not inside():
        replace_this_process(BIN / "python", __file__, *sys.argv[1:])


def inside() -> bool:
    """Return whether this process runs in `.venv`."""
    return Path(sys.prefix) == VENV


def set_up(kind: str) -> None:
    """Install `requirements/{kind}.lock` into `.venv`, unless it is already installed."""
    place = {"venv": str(VENV), "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    content = {
        name: hashlib.sha256(path.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
        for name, path in LOCKS.items()
    }
    stamp = VENV / "callback-installed.json"
    present = json.loads(stamp.read_text()) if stamp.exists() and (BIN / "python").exists() else {}
    usable = place.items() <= present.items()
    if usable and present.get(kind) == content[kind]:
        return
    if not usable and not inside():
        make_environment()
    stamp.unlink(missing_ok=True)
    packages = LOCKS[kind].read_text().count("==")
    print(f"installing the {packages} packages of requirements/{kind}.lock into .venv …", file=sys.stderr)
    install: list[str | Path] = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*install, "--no-deps", "--require-hashes", "-r", LOCKS[kind])
    run(*install, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    covered = {"up": ["up"], "dev": ["up", "dev"]}.get(kind, ["up", "dev", kind])
    stamp.write_text(json.dumps({**place, **{name: content[name] for name in covered}}) + "\n")


def make_environment() -> None:
    """Create an empty `.venv` with pip. Debian has the module for it in a separate package."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        if not apt_install([package]):
            sys.exit(
                f"this Python cannot create environments. Install {package} (apt install {package}), then try again."
            )
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", VENV)


def require_system_packages(packages_of: dict[str, str]) -> None:
    """Install the programs that a task uses, or print the missing ones. Under CI a missing one is an error."""

    def missing() -> list[str]:
        needed = [packages for program, packages in packages_of.items() if shutil.which(program) is None]
        return " ".join(needed).split()

    if missing():
        apt_install(missing())
    if packages := missing():
        print(f"missing packages, tests that need them are skipped: apt install {' '.join(packages)}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            sys.exit("no test may be skipped under CI")


def require_languages() -> None:
    """Print the languages whose toolchain is missing or too old. Under CI that is an error."""
    problems = [problem for language in LANGUAGES if (problem := language_problem(language))]
    if problems:
        print(f"languages whose tests are skipped: {'; '.join(problems)}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            sys.exit("no test may be skipped under CI")


def language_problem(language: str) -> str | None:
    """Return why the tests of a language cannot run. None: they can."""
    programs, command, least = LANGUAGES[language]
    if missing := [program for program in programs.split() if shutil.which(program) is None]:
        return f"{language} ({' and '.join(missing)} missing)"
    printed = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)", printed.stdout)
    if found is None or tuple(map(int, found.groups())) < tuple(map(int, least.split("."))):
        version = found[0] if found else printed.stdout.strip() or printed.stderr.strip()
        return f"{language} (needs {least} or newer, and this is {version})"
    return None


def apt_install(packages: list[str]) -> bool:
    """Install Debian packages if apt exists and this is root. Return whether they were installed."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return False
    print(f"installing {' '.join(packages)} with apt …", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q=2"], ["install", "-q=2", "--yes", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", *command], env=quiet, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            return False
    return True


# ---- Running programs ----


def run(*command: str | Path) -> None:
    """Run a program to its end. If it fails, this process ends with the same status."""
    subprocess.run([str(part) for part in command], check=True)


def run_check(*task: str) -> str | None:
    """Run a task of this file beside the tests, while they leave a core idle. Return its name if it fails.

    Its output is printed at its end, as a whole.
    """
    command = ["nice", sys.executable, __file__, *task]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    name = " ".join(task)
    print(f"\n{name}: {'failed' if ended.returncode else 'passed'}\n{ended.stdout}", flush=True)
    return name if ended.returncode else None


def run_all(*arguments: str) -> None:
    """Run all tests; if a few fail, run these again by themselves. Only what fails twice is an error.

    What passes then is named at the end, and is to be mended: it depends on the other tests or on the machine's speed.
    """
    try:
        run_pytest("--cache-clear", *arguments)
        return
    except subprocess.CalledProcessError as ended:
        cache = ROOT / ".pytest_cache/v/cache/lastfailed"
        failed = sorted(json.loads(cache.read_text())) if cache.exists() else []
        if ended.returncode != TESTS_FAILED or not 0 < len(failed) <= FEW:
            raise
    print("\nthese failed among all tests, and run again by themselves:", *failed, sep="\n  ", flush=True)
    run_pytest("--last-failed")
    print("\nthese passed by themselves, but failed among all tests:", *failed, sep="\n  ", flush=True)


def run_pytest(*arguments: str) -> None:
    """Run tests, which start hundreds of processes: each would compile the product if bytecode were not written."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    run("pytest", *arguments)


def replace_this_process(*command: str | Path) -> NoReturn:
    """Replace this process with another program, which gets the terminal and the signals."""
    sys.stdout.flush()
    os.execv(command[0], [str(part) for part in command])


if __name__ == "__main__":
    main(sys.argv[1:])
