"""OpenID provider, written from its specifications: one client, and one user, who consents on a page.

It supports PKCE, names itself in its answers (RFC 9207) if it is told to, and lets a user sign out.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from time import time
from urllib.parse import urlencode

from flask import Flask, abort, jsonify, redirect, request
from flows.serving import button
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "shop", "the client's secret"
USER = "user-7"


def new_key(key_id="key-1"):
    """Return a new signing key."""
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig", "alg": "RS256"})


@dataclass
class Client:
    redirect_uri: str


class Provider:
    """OpenID provider. `app` serves it as soon as `issuer` and `client` are set."""

    def __init__(self, *, names_itself=False):
        self.issuer = self.client = None
        self._names_itself = names_itself
        self.published = new_key()
        self.app = Flask("openid-provider")
        self.app.add_url_rule("/.well-known/openid-configuration", view_func=self.configuration)
        self.app.add_url_rule("/keys", view_func=self.keys)
        self.app.add_url_rule("/authorize", view_func=self.authorize, methods=["GET", "POST"])
        self.app.add_url_rule("/token", view_func=self.token, methods=["POST"])
        self.app.add_url_rule("/leave", view_func=self.leave, methods=["GET", "POST"])
        self.reset()

    def reset(self):
        """Clear the recorded actions, and restore the honest behavior."""
        self.codes, self.asked_for_tokens = {}, 0
        self.signs_with, self.lies = self.published, {}
        self.changes = {}
        """Changes of its configuration."""

    def configuration(self):
        named = {"authorization_response_iss_parameter_supported": True} if self._names_itself else {}
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        urls = {name: f"{self.issuer}/{path}" for name, path in (ends | {"end_session_endpoint": "leave"}).items()}
        return jsonify({"issuer": self.issuer} | named | urls | self.changes)

    def keys(self):
        return jsonify(keys=[self.published.as_dict(private=False)])

    def authorize(self):
        """Ask the user, and lead the browser back with a code, in the query, the fragment or a form."""
        asked = request.args
        expected = {"client_id": CLIENT_ID, "redirect_uri": self.client.redirect_uri, "response_type": "code"}
        if expected.items() - asked.items() or "openid" not in asked["scope"].split() or not asked.get("nonce"):
            abort(400)
        if asked.get("code_challenge_method", "S256") != "S256":
            abort(400)
        if request.method == "GET":
            return button("Log in", "Provider")
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"]} | ({"iss": self.issuer} if self._names_itself else {})
        if asked.get("response_mode") != "form_post":
            mark = "#" if asked.get("response_mode") == "fragment" else "?"
            return redirect(f"{asked['redirect_uri']}{mark}{urlencode(answer)}")
        fields = "".join(f"<input type=hidden name={name} value='{value}'>" for name, value in answer.items())
        form = f"<form method=post action='{asked['redirect_uri']}'>{fields}</form>"
        return f"{form}<script>document.forms[0].submit()</script>"

    def token(self):
        """Exchange a code, once, for an ID token (OpenID Connect Core 1.0, 3.1.3; RFC 7636, 4.6)."""
        self.asked_for_tokens += 1
        given = request.authorization
        if not given or (given.username, given.password) != (CLIENT_ID, CLIENT_SECRET):
            return jsonify(error="invalid_client"), 401
        asked = self.codes.pop(request.form["code"], None)
        if not asked or asked["redirect_uri"] != request.form["redirect_uri"]:
            return jsonify(error="invalid_grant"), 400
        digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
        if asked.get("code_challenge", b64(digest)) != b64(digest):
            return jsonify(error="invalid_grant"), 400
        claims = {"iss": self.issuer, "sub": USER, "aud": [CLIENT_ID], "iat": int(time()), "exp": int(time()) + 3600}
        access_token = secrets.token_urlsafe()
        claims["at_hash"] = b64(hashlib.sha256(access_token.encode()).digest()[:16])
        header = {"alg": "RS256", "kid": self.signs_with.kid}
        id_token = jwt.encode(header, claims | {"nonce": asked["nonce"]} | self.lies, self.signs_with)
        return jsonify(access_token=access_token, token_type="Bearer", expires_in=3600, id_token=id_token)

    def leave(self):
        """Ask the user whether to sign out, and lead the browser back. There is no id_token_hint."""
        assert set(request.args) == {"client_id", "post_logout_redirect_uri"}
        if request.method == "GET":
            return button("Log out", "Provider")
        return redirect(request.args["post_logout_redirect_uri"])


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
