"""The clients as users install them: each as a package, in an empty folder, with the programs of the conformance tests.

`install_python`, `install_go` and `install_node` return the commands of the worker and of the client driver.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile

from support.tree import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["callback"]["release"]
PROGRAMS = ROOT / "clients" / "conformance"
GO, NODE = ROOT / "clients" / "go", ROOT / "clients" / "typescript"
GO_MODULE = "callback.example/callback"
PROGRAM_NAMES = ("worker", "client")
KINDS = (*PROGRAM_NAMES, "handlers")
"""The kinds of scenarios. The worker is the handler server, too."""
GO_FLAGS = "-trimpath -modcacherw -buildvcs=false"
"""Flags of Go: what is compiled does not depend on the folder, so all builds share the cache."""


def build_wheel(folder):
    """Build the wheel of this tree into an empty folder, and return its path."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, at=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_python(folder):
    """Install the wheel of this tree, and what it depends on, into an empty environment in a folder."""
    wheel = build_wheel(folder / "dist")
    python = folder / "venv" / "bin" / "python"
    run("uv", "venv", "--quiet", "--python", sys.executable, folder / "venv", at=folder)
    run("uv", "pip", "install", "--quiet", "--python", python, wheel, at=folder)
    for kind in PROGRAM_NAMES:
        shutil.copy(PROGRAMS / "python" / f"{kind}.py", folder)
    return _with_handlers({kind: [str(python), "-P", str(folder / f"{kind}.py")] for kind in PROGRAM_NAMES})


def install_node(folder, *programs):
    """Install the packed package of Node, which has been built, into an empty project in a folder.

    Args:
        folder: The folder of the project.
        programs: More programs that use the package, each a file. Their commands are in the result by their names.
    """
    packed = run("npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", folder, at=NODE).strip()
    (folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    options = ("--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    run("npm", "install", *options, f"./{packed}", at=folder)
    programs = [*(PROGRAMS / "typescript" / f"{kind}.mjs" for kind in PROGRAM_NAMES), *programs]
    return _with_handlers({each.stem: [shutil.which("node"), shutil.copy(each, folder)] for each in programs})


def install_go(folder, *programs, flags=("-race",)):
    """Install the Go module from a module proxy, with an empty module cache, and build programs that require it.

    Args:
        folder: The folder of the proxy, the cache and the module with the programs.
        programs: More programs to build, each a file. Their commands are in the result by the name of the file.
        flags: Flags of the build. The race detector is that of the other tests, which then find the packages compiled.
    """
    proxy, module = folder / "proxy", folder / "module"
    # Go remembers what a folder of a module cache imports, because a version never changes. This one does.
    cache = folder / f"cache-{publish_go(proxy)}"
    shutil.copytree(PROGRAMS / "go", module)
    present = run("go", "env", "GOMODCACHE", "GOPROXY", at=module).split()
    variables = {
        "GOFLAGS": f"{GO_FLAGS} -mod=mod",  # the sums of the module are added
        "GOMODCACHE": str(cache),
        # What another build has downloaded is not downloaded again.
        "GOPROXY": f"file://{proxy},file://{present[0]}/cache/download,{present[1]}",
        "GONOSUMDB": GO_MODULE,
    }
    run("go", "mod", "edit", f"-dropreplace={GO_MODULE}", at=module, **variables)
    for program in programs:
        (module / program.stem).mkdir()
        shutil.copy(program, module / program.stem / "main.go")
    names = [*PROGRAM_NAMES, *(program.stem for program in programs)]
    build = ["go", "build", *flags, "-ldflags=-s -w", "-o", f"{folder / 'bin'}/"]
    run(*build, *(f"./{name}" for name in names), at=module, **variables)
    return _with_handlers({name: [str(folder / "bin" / name)] for name in names})


def _with_handlers(commands):
    """Add the handler server, which is the program of the worker, to the commands of an installed client."""
    return {**commands, "handlers": commands["worker"]}


def publish_go(proxy):
    """Write the Go module into a folder that is a module proxy: https://go.dev/ref/mod#goproxy-protocol.

    Return a hash of the module.
    """
    versions = proxy / GO_MODULE / "@v"
    versions.mkdir(parents=True)
    name = f"v{VERSION}"
    (versions / "list").write_text(f"{name}\n")
    (versions / f"{name}.info").write_text(json.dumps({"Version": name}))
    shutil.copy(GO / "go.mod", versions / f"{name}.mod")
    others = [path.parent for path in GO.rglob("go.mod") if path.parent != GO]  # modules of their own
    content = hashlib.sha256()
    with zipfile.ZipFile(versions / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(GO.rglob("*")):
            if path.is_file() and not any(path.is_relative_to(other) for other in others):
                archive.write(path, f"{GO_MODULE}@{name}/{path.relative_to(GO)}")
                content.update(f"{path.relative_to(GO)}\n{path.stat().st_size}\n".encode() + path.read_bytes())
    return content.hexdigest()[:16]


def run(*command, at, **variables):
    """Run a program to its end, and return what it prints. If it fails, the error has all its output."""
    ended = subprocess.run(
        [*map(str, command)], cwd=at, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def build_node():
    """Install the packages of the lock file of the Node client, and compile it."""
    install = "from generators.typescript import install_packages; install_packages()"
    run(sys.executable, "-c", install, at=ROOT)
    run("npm", "run", "--silent", "build", at=NODE)
