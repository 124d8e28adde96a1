"""SAML 2.0 identity provider, built with pysaml2's server: one user, who consents on a page."""

import warnings

import trustme
from flask import Flask, request
from flows.serving import button
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.authn_context import PASSWORDPROTECTEDTRANSPORT
from saml2.config import IdPConfig, SPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

with warnings.catch_warnings():  # pysaml2 uses a cipher mode that cryptography will move
    warnings.simplefilter("ignore")
    from saml2.server import Server


def write_key(directory, name):
    """Write a key and its certificate, and return the library's settings for them."""
    files = {"key_file": directory / f"{name}.key", "cert_file": directory / f"{name}.pem"}
    made = trustme.CA().issue_cert("idp.example", key_type=trustme.KeyType.RSA)
    made.private_key_pem.write_to_path(files["key_file"])
    made.cert_chain_pems[0].write_to_path(files["cert_file"])
    return {setting: str(path) for setting, path in files.items()}


def write_service_metadata(path, entity, consumer):
    """Write the metadata of a service for the identity provider: its name, and its URL for responses."""
    endpoints = {"assertion_consumer_service": [(consumer, BINDING_HTTP_POST)]}
    config = SPConfig().load({"entityid": entity, "service": {"sp": {"endpoints": endpoints}}})
    path.write_text(str(entity_descriptor(config)))


class IdentityProvider:
    """SAML identity provider. `app` serves it after `start`, which sets its origin and its known services.

    Every visitor is `user`.
    """

    def __init__(self, directory, user):
        self._user = user
        self.directory = directory
        self.metadata = directory / "idp.xml"
        self.app = Flask("identity-provider")
        self.app.add_url_rule("/sso", view_func=lambda: button("Log in", "Identity provider"), methods=["GET"])
        self.app.add_url_rule("/sso", view_func=self.agree, methods=["POST"])

    def start(self, origin, services):
        """Write the metadata, and create two servers: an honest one, and an impostor with another key."""
        self.entity = f"{origin}/metadata"

        def server(key):
            config = IdPConfig().load(
                {
                    "entityid": self.entity,
                    "service": {
                        "idp": {
                            "endpoints": {"single_sign_on_service": [(f"{origin}/sso", BINDING_HTTP_REDIRECT)]},
                            "sign_assertion": True,
                            "sign_response": False,
                        }
                    },
                    "metadata": {"local": [str(path) for path in services]},
                    "signing_algorithm": SIG_RSA_SHA256,
                    "digest_algorithm": DIGEST_SHA256,
                    **write_key(self.directory, key),
                }
            )
            return config, Server(config=config)

        config, self.honest = server("honest")
        _, self.impostor = server("impostor")
        self.metadata.write_text(str(entity_descriptor(config)))
        self.reset()

    def reset(self):
        """Restore the honest behavior."""
        self.lie()

    def lie(self, *, is_impostor=False, audience=None, relay_state=None, tamper=lambda response: response):
        """Sign with another key, for another service, with another relay state, or change the signed response."""
        self.signer = self.impostor if is_impostor else self.honest
        self.audience, self.relay_state, self.tamper = audience, relay_state, tamper

    def agree(self):
        """Return the response to a login request, as a form that submits itself."""
        asked = self.honest.parse_authn_request(request.args["SAMLRequest"], BINDING_HTTP_REDIRECT)
        to = self.honest.response_args(asked.message)
        response = self.signer.create_authn_response(
            {},
            in_response_to=to["in_response_to"],
            destination=to["destination"],
            sp_entity_id=self.audience or to["sp_entity_id"],
            name_id=NameID(text=self._user, format=NAMEID_FORMAT_PERSISTENT),
            authn={"class_ref": PASSWORDPROTECTEDTRANSPORT},
        )
        relay_state = self.relay_state or request.args["RelayState"]
        page = self.signer.apply_binding(
            BINDING_HTTP_POST, self.tamper(str(response)), to["destination"], relay_state, response=True
        )
        return page["data"]
