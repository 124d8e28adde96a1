"""The page on web applications: a worker in FastAPI, Django and Flask, each in a process that a test stops."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys

import httpx
import pytest
from flows.programs import running, stop
from flows.recipes import blocks_of, files_of
from support.store import free_port
from support.wait import wait_until

from callback import Redirect

FILES = files_of(blocks_of("web-applications.md"))

DJANGO = {
    "manage.py": """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "settings.py": """
SECRET_KEY = "of the test"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
""",
    "shop/models.py": """
from django.db import models
class Order(models.Model):
    number = models.CharField(max_length=20)
    is_paid = models.BooleanField(default=False)
""",
    "prepare.py": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.db import connection
from shop.models import Order
with connection.schema_editor() as editor:
    editor.create_model(Order)
Order.objects.create(number="5")
""",
}
"""The project around the application: its models, and a program that makes the database."""
FLASK = """
import signal, sys
before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
import flask_app
from werkzeug.serving import make_server
def stop(*_):
    raise SystemExit
signal.signal(signal.SIGTERM, stop)
server = make_server("127.0.0.1", int(sys.argv[1]), flask_app.app, threaded=True)
assert before == [signal.SIG_DFL, signal.default_int_handler] and signal.getsignal(signal.SIGINT) == before[1]
print("the application listens")
server.serve_forever()
"""
"""A web server whose SIGTERM ends the process as web servers do it: with an orderly exit."""


@pytest.fixture
def project(tmp_path, world):
    """Return a function that writes files of the page, and others, into a folder of the test."""

    def write(*names, **others):
        for name, text in {**{each: FILES[each] for each in names}, **others}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("127.0.0.1:50051", world.target) + "\n")
            for folder in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / folder / "__init__.py").touch()
        return tmp_path

    return write


async def pays_an_order(origin):
    """Begin an order, pay it at its callback, and check that the application knows."""
    async with httpx.AsyncClient() as visitor:
        assert (await visitor.get(f"{origin}/orders/5")).json() == {"is_paid": False}
        begun = await visitor.post(f"{origin}/orders/5")
        reply = await visitor.get(begun.json()["pay_at"])
        assert (reply.status_code, reply.headers["location"]) == (302, "https://shop.example/thankyou")
        assert (await visitor.get(f"{origin}/orders/5")).json() == {"is_paid": True}


async def is_ready(probe, address):
    return (await probe.get(f"http://{address}/ready")).status_code == 200


async def test_fastapi_runs_a_worker_in_its_lifespan_and_ends_by_the_signal_of_its_server(project):
    directory, address = project("fastapi_app.py"), f"127.0.0.1:{free_port()}"
    command = ("-m", "hypercorn", "fastapi_app:app", "--bind", address)
    async with running(directory, *command, says="Running on") as program, httpx.AsyncClient() as probe:
        await wait_until(lambda: is_ready(probe, address), what="the worker to connect")
        await pays_an_order(f"http://{address}")
        stop(program)


async def test_fastapi_starts_serves_and_stops_while_the_server_is_away(project, world):
    away = FILES["fastapi_app.py"].replace("127.0.0.1:50051", f"127.0.0.1:{free_port()}")
    directory, address = project(**{"fastapi_app.py": away}), f"127.0.0.1:{free_port()}"
    command = ("-m", "hypercorn", "fastapi_app:app", "--bind", address)
    async with running(directory, *command, says="Running on") as program, httpx.AsyncClient() as visitor:
        assert not await is_ready(visitor, address)
        assert (await visitor.get(f"http://{address}/orders/5")).json() == {"is_paid": False}
        stop(program)


async def test_flask_runs_a_worker_in_a_thread_and_the_signals_stay_with_its_server(project, world):
    directory, port = project("flask_app.py", **{"serve.py": FLASK}), free_port()

    async def is_served():
        found = [each async for each in world.client.list_activities()]
        return any(each.activity == "order-paid" and each.is_served for each in found)

    async with running(directory, "serve.py", str(port), says="the application listens") as program:
        await wait_until(is_served, what="the worker to connect")
        await pays_an_order(f"http://127.0.0.1:{port}")
        stop(program)


async def test_django_runs_handlers_that_use_the_models_by_a_command(project, world):
    files = ("shop/callbacks.py", "shop/management/commands/callback_worker.py")
    directory = project(*files, **DJANGO)
    await asyncio.to_thread(subprocess.run, [sys.executable, "prepare.py"], cwd=directory, check=True)
    async with (
        running(directory, "manage.py", "callback_worker", says="worker_connected") as program,
        httpx.AsyncClient() as visitor,
    ):
        for number, status in (("5", 302), ("6", 404)):
            made = await world.client.generate_callback_url("order-paid", Redirect(), activity_case=number)
            assert (await visitor.get(made.url)).status_code == status
        stop(program)
    with contextlib.closing(sqlite3.connect(directory / "db.sqlite3")) as database:
        assert database.execute("SELECT number, is_paid FROM shop_order").fetchall() == [("5", 1)]
