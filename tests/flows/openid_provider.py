"""OpenID provider, built with Authlib's server: one client, and one user, who consents on a page.

It supports PKCE, names itself in its answers (RFC 9207) if it is told to, and lets a user sign out.
"""

import threading
from dataclasses import dataclass, field
from time import time
from urllib.parse import parse_qsl, urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core import AuthorizationCodeMixin, OpenIDCode
from authlib.oidc.core.grants.util import create_response_mode_response
from flask import Flask, Response, jsonify, redirect, request
from flows.serving import button
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "shop", "the client's secret"
USER = "user-7"


def new_key(key_id="key-1"):
    """Return a new signing key."""
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig", "alg": "RS256"})


@dataclass
class Client(ClientMixin):
    redirect_uri: str

    def get_client_id(self):
        return CLIENT_ID

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret):
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method, endpoint):
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str | None
    code_challenge_method: str | None
    auth_time: int = field(default_factory=lambda: int(time()))

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope

    def get_nonce(self):
        return self.nonce

    def get_auth_time(self):
        return self.auth_time


class Provider:
    """OpenID provider. `app` serves it as soon as `issuer` is set."""

    def __init__(self, *, names_itself=False):
        self.issuer = self.client = None
        self._names_itself = names_itself
        self.gate = threading.Event()
        """While it is clear, a request for a token gets only the white space before its answer."""
        self.published = new_key()
        self.app = Flask("openid-provider")
        self.app.add_url_rule("/.well-known/openid-configuration", view_func=self.configuration)
        self.app.add_url_rule("/keys", view_func=self.keys)
        self.app.add_url_rule("/authorize", view_func=self.page, methods=["GET"])
        self.app.add_url_rule("/authorize", view_func=self.agree, methods=["POST"])
        self.app.add_url_rule("/token", view_func=self.token, methods=["POST"])
        self._server = AuthorizationServer(self.app, lambda client_id: self._client(client_id), lambda *_: None)
        self._server.register_grant(_grant(self), [_tokens(self), CodeChallenge(required=False)])
        if names_itself:
            self._server.register_extension(_Name(self))
        self.app.add_url_rule("/leave", view_func=self.leave, methods=["GET", "POST"])
        self.reset()

    def reset(self):
        """Clear the recorded actions, and restore the honest behavior."""
        self.codes, self.asked_for_tokens = {}, 0
        self.gate.set()
        self.signs_with, self.lies = self.published, {}

    def _client(self, client_id):
        return self.client if client_id == CLIENT_ID else None

    def configuration(self):
        ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        ends["end_session_endpoint"] = "/leave"
        named = {"authorization_response_iss_parameter_supported": True} if self._names_itself else {}
        return jsonify({"issuer": self.issuer} | named | {name: self.issuer + path for name, path in ends.items()})

    def keys(self):
        return jsonify(keys=[self.published.as_dict(private=False)])

    def page(self):
        self._server.get_consent_grant(end_user=USER)
        return button("Log in", "Provider")

    def agree(self):
        grant = self._server.get_consent_grant(end_user=USER)
        return self._server.create_authorization_response(grant_user=USER, grant=grant)

    def leave(self):
        """Ask the user whether to sign out, and lead the browser back. There is no id_token_hint."""
        assert set(request.args) == {"client_id", "post_logout_redirect_uri"}
        if request.method == "GET":
            return button("Log out", "Provider")
        return redirect(request.args["post_logout_redirect_uri"])

    def token(self):
        self.asked_for_tokens += 1
        answer = self._server.create_token_response()

        def body():
            while not self.gate.wait(0.5):
                yield b" "  # clients wait as long as something comes
            yield answer.data

        return Response(body(), answer.status_code, content_type=answer.content_type)


def _grant(provider):
    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

        def save_authorization_code(self, code, request):
            asked = request.payload
            data = [asked.data.get(name) for name in ("nonce", "code_challenge", "code_challenge_method")]
            provider.codes[code] = Code(asked.redirect_uri, asked.scope, *data)

        def query_authorization_code(self, code, client):
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code):
            provider.codes = {code: each for code, each in provider.codes.items() if each is not authorization_code}

        def authenticate_user(self, authorization_code):
            return USER

        def create_authorization_response(self, redirect_uri, grant_user):
            """Return the library's response in the requested response mode, which this grant of the library ignores."""
            _, _, headers = super().create_authorization_response(redirect_uri, grant_user)
            answer = parse_qsl(urlsplit(dict(headers)["Location"]).query)
            mode = self.request.payload.data.get("response_mode", "query")
            return create_response_mode_response(redirect_uri, answer, mode)

    return Grant


class _Name(IssuerParameter):
    def __init__(self, provider):
        self._provider = provider

    def get_issuer(self):
        return self._provider.issuer


def _tokens(provider):
    class Tokens(OpenIDCode):
        def exists_nonce(self, nonce, request):
            return any(code.nonce == nonce for code in provider.codes.values())

        def resolve_client_private_key(self, client):
            return provider.signs_with

        def get_encode_header(self, client):
            return {"alg": "RS256", "kid": provider.signs_with.kid}

        def get_client_claims(self, client):
            return {"iss": provider.issuer, "aud": [client.get_client_id()]}

        def generate_user_info(self, user, scope):
            return {"sub": user, **provider.lies}

    return Tokens(require_nonce=True)
