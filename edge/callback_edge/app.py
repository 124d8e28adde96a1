"""Public application: Quart for views and pages. Calls do not come here."""

from quart import Quart
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.routing import MapAdapter

from callback_edge.pages import views
from callback_edge.pages.pages import JINJA_OPTIONS
from callback_edge.settings import EdgeSettings


def create_app(settings: EdgeSettings) -> Quart:
    """Create the application, with the operator's templates.

    An `Exchange` answers a callback URL (`/cb/`, `/cbq/`) itself, and gives every other address to Quart's routes and
    views: Quart's request and response objects, contexts and signals cost several times as much as the rest of a call.
    For all else the application is an ordinary one: register blueprints and error handlers here, and put templates
    beside them. `app.jinja_env` finds a template in the operator's folder first, then in the folder of the blueprint.
    """
    overrides = settings.templates_dir and settings.templates_dir.absolute()  # Quart looks below the package otherwise
    app = _App("callback_edge", static_folder=None, template_folder=overrides)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # to the exchange, which answers; Quart would log the path
    app.jinja_options = {**JINJA_OPTIONS}
    app.register_blueprint(views.blueprint)
    return app


class _App(Quart):
    """Quart, without a look at the Host for a route: it can have any value, and Quart fails on some."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        return self.url_map.bind("", path_info=request.path, default_method=request.method) if request else None
