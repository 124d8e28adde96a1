"""The machine and the versions of a measurement, which the results depend on."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from support.store import program

_PACKAGES = ("callback", "quart", "hypercorn", "h11", "uvloop", "grpcio", "protobuf", "redis", "hiredis")
_TOOLCHAINS = {"node": ["--version"], "go": ["version"]}
_ROOT = Path(__file__).parents[3]


def surroundings():
    """Return the time, the machine, the versions, and the durability of the stores."""
    return {
        "began": time.strftime("%Y%m%d-%H%M%S", time.gmtime()),
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}",
            "load_before": round(os.getloadavg()[0], 1),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
            "store": _said(program("valkey"), "--version"),
            **{name: _said(name, *words) for name, words in _TOOLCHAINS.items() if shutil.which(name)},
            "commit": _said("git", "-C", _ROOT, "describe", "--always", "--dirty"),
        },
        "durability": "appendonly yes, appendfsync always",
    }


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(*command):
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    return ran.stdout.strip()
