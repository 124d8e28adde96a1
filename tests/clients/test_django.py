"""Django's ORM in a handler: the program of docs/python.md, with a real database, as a handler server."""

import asyncio
import os
import sys
import textwrap
from asyncio.subprocess import PIPE

from flows.recipes import blocks_of, files_of
from support.clients import ask_handler, handle_request
from support.tree import PACKAGES
from support.wait import DEADLINE_S

from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2 as resources

SETTINGS = """
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "orders.sqlite"}}
    INSTALLED_APPS = ["shop"]
    SECRET_KEY = "test"
    USE_TZ = True
"""
MODELS = """
    from django.db import models

    class Order(models.Model):
        status = models.CharField(max_length=20)
"""
PROGRAM = """
    import asyncio, sys
    import orders_worker
    from django.db import connection
    from django.db.backends.signals import connection_created

    with connection.schema_editor() as editor:
        editor.create_model(orders_worker.Order)
    orders_worker.Order.objects.create(pk=5, status="open")
    connection.close()
    connection_created.connect(lambda **_: print("connected", flush=True), weak=False)

    async def main():
        async with orders_worker.handlers.listen("127.0.0.1:0") as listening:
            print(listening.address, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(main())
    print(orders_worker.Order.objects.get(pk=5).status)
"""


def paid(order):
    query = [resources.QueryParameter(name="status", value="paid")]
    return handle_request(callback_activity_case=order, request_query=query)


async def test_a_plain_function_uses_the_orm_and_closes_its_connection_as_django_does(tmp_path):
    (tmp_path / "shop").mkdir()
    files = files_of(blocks_of("python.md")) | {
        "settings.py": SETTINGS, "shop/__init__.py": "", "shop/models.py": MODELS, "program.py": PROGRAM,
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    path = os.pathsep.join([str(tmp_path), str(PACKAGES["callback"].parent)])
    program = await asyncio.create_subprocess_exec(
        sys.executable, "program.py", stdin=PIPE, stdout=PIPE, cwd=tmp_path,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": path},
    )  # fmt: skip
    try:
        address = (await asyncio.wait_for(program.stdout.readline(), DEADLINE_S)).decode().strip()
        verdicts = [  # one after the other, so that the second call has the thread of the first
            (await ask_handler(address, paid(order))).verdict for order in ("5", "6")
        ]
        output, _ = await asyncio.wait_for(program.communicate(b""), DEADLINE_S)
    finally:
        if program.returncode is None:
            program.kill()
    assert verdicts == [messages.VERDICT_ACCEPTED, messages.VERDICT_REJECTED]
    assert output.split() == [b"connected", b"connected", b"connected", b"paid"]  # of each call, and of the last line
