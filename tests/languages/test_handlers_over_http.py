"""HTTP handlers in four languages pass the scenarios of `support/http_scenarios.py`."""

import contextlib

from flows.programs import running
from flows.recipes import blocks_of, files_of
from support.http_handlers import SECRET
from support.http_scenarios import problems
from support.tools import require
from support.tree import ROOT

PROGRAMS = ROOT / "tests" / "languages" / "http"


async def test_a_handler_in_flask_passes_every_scenario(store_of, tmp_path):
    @contextlib.asynccontextmanager
    async def flask(**variables):
        command = ("-m", "flask", "--app", str(PROGRAMS / "flask_handler.py"), "run", "--port", variables["PORT"])
        async with running(tmp_path, *command, says="Running on", **variables):
            yield

    assert await problems(flask, store_of(), tmp_path) == []


async def test_a_handler_in_php_passes_every_scenario(store_of, tmp_path):
    verified, _, _ = files_of(blocks_of("http-handlers.md"))["http-handler.php"].partition("\n$call = ")
    (tmp_path / "handler.php").write_text((PROGRAMS / "php-handler.php").read_text().replace("<?php", verified, 1))
    (tmp_path / "handler-secret").write_text(f"{SECRET}\n")

    @contextlib.asynccontextmanager
    async def php(**variables):
        command = ("-d", "enable_post_data_reading=0", "-S", f"127.0.0.1:{variables['PORT']}", "handler.php")
        workers = {"PHP_CLI_SERVER_WORKERS": "4"}  # or it handles one request at a time
        async with running(tmp_path, *command, says="started", program=require("php"), **variables, **workers):
            yield

    assert await problems(php, store_of(), tmp_path) == []


async def test_a_handler_in_express_passes_every_scenario(with_express, store_of):
    (with_express / "handler.mjs").write_text((PROGRAMS / "express-handler.mjs").read_text())

    @contextlib.asynccontextmanager
    async def express(**variables):
        async with running(with_express, "handler.mjs", says="listening", program="node", **variables):
            yield

    assert await problems(express, store_of(), with_express) == []


async def test_a_handler_in_go_passes_every_scenario(go_commands, store_of, tmp_path):
    (program,) = go_commands["go-handler"]

    @contextlib.asynccontextmanager
    async def go(**variables):
        async with running(tmp_path, says="listening", program=program, **variables):
            yield

    assert await problems(go, store_of(), tmp_path) == []
