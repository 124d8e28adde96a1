"""Parts of the providers: a Flask application on its own loopback address, which a browser treats as its own site."""

import contextlib
from threading import Thread

from werkzeug.serving import make_server


@contextlib.contextmanager
def serving(application, host, tls=None):
    """Serve an application in a thread, with TLS if a context is given, and yield its origin."""
    server = make_server(host, 0, application, threaded=True, ssl_context=tls)
    thread = Thread(target=server.serve_forever, name=f"site at {host}")
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def button(text, title):
    """Return a page with one button, which posts to the page's own address."""
    return f"<title>{title}</title><form method=post><button id=go>{text}</button></form>"
