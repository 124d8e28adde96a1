"""What the library of a provider accepts: `verify.py PROVIDER` reads messages and prints a JSON list of booleans.

The standard input is a JSON list of objects with `secret`, `body`, `url`, `method`, and `headers` by lower-case name.
"""

import json
import re
import sys
from base64 import b64decode
from importlib import import_module
from urllib.parse import parse_qsl, urlsplit


def form(sent):
    assert sent["headers"]["content-type"].strip().lower().startswith("application/x-www-form-urlencoded")
    return dict(parse_qsl(sent["body"], keep_blank_values=True, strict_parsing=True))


def alipay(sent):
    library, fields = import_module("alipay.aop.api.util.SignatureUtils"), form(sent)
    sign = fields.pop("sign")
    assert fields.pop("sign_type") == "RSA2"
    return library.verify_with_rsa(sent["secret"], library.get_sign_content(fields).encode(), sign)


def anthropic(sent):
    webhooks = import_module("anthropic").Anthropic(api_key="k").beta.webhooks
    return webhooks.unwrap(sent["body"], headers=sent["headers"], key=sent["secret"])


def apple_app_store(sent):
    library = import_module("appstoreserverlibrary.signed_data_verifier")
    sandbox = import_module("appstoreserverlibrary.models.Environment").Environment.SANDBOX
    verifier = library.SignedDataVerifier([b64decode(sent["secret"])], False, sandbox, "com.example")
    return verifier.verify_and_decode_notification(json.loads(sent["body"])["signedPayload"])


def box(sent):
    webhook = import_module("boxsdk.object.webhook").Webhook
    return webhook.validate_message(sent["body"].encode(), sent["headers"], sent["secret"])


def braintree(sent):
    library, fields = import_module("braintree"), form(sent)
    keys = {"merchant_id": "m", "public_key": "integration_public_key", "private_key": sent["secret"]}
    gateway = library.BraintreeGateway(library.Configuration(library.Environment.Sandbox, **keys))
    return gateway.webhook_notification.parse(fields["bt_signature"], fields["bt_payload"])


def dropbox_sign(sent):
    library = import_module("dropbox_sign")
    (text,) = re.findall(r'name="json"\r\n\r\n(.*)\r\n--boundary--', sent["body"])
    event = library.EventCallbackRequest.init(json.loads(text))
    return library.EventCallbackHelper.is_valid(sent["secret"], event)


def elevenlabs(sent):
    webhooks = import_module("elevenlabs").ElevenLabs(api_key="k").webhooks
    return webhooks.construct_event(sent["body"], sent["headers"]["elevenlabs-signature"], sent["secret"])


def line(sent):
    validator = import_module("linebot.v3.webhook").SignatureValidator(sent["secret"])
    return validator.validate(sent["body"], sent["headers"]["x-line-signature"])


def hubspot(sent):
    time, given = (sent["headers"][f"x-hubspot-{name}"] for name in ("request-timestamp", "signature-v3"))
    parts = {"client_secret": sent["secret"], "request_body": sent["body"], "http_uri": sent["url"]}
    signature = import_module("hubspot.utils.signature").Signature
    return signature.is_valid(given, signature_version="v3", timestamp=time, http_method="POST", **parts)


def livekit(sent):
    library = import_module("livekit.api")
    receiver = library.WebhookReceiver(library.TokenVerifier("APIkey", sent["secret"]))
    return receiver.receive(sent["body"], sent["headers"]["authorization"])


def messagebird(sent):
    validator = import_module("messagebird.request_validator").RequestValidator(sent["secret"])
    signature = sent["headers"]["messagebird-signature-jwt"]
    return validator.validate_signature(signature, sent["url"], sent["body"].encode())


def modern_treasury(sent):
    webhooks = import_module("modern_treasury").ModernTreasury(api_key="k", organization_id="o").webhooks
    return webhooks.validate_signature(sent["body"], sent["headers"], key=sent["secret"])


def onfido(sent):
    verifier = import_module("onfido").WebhookEventVerifier(sent["secret"])
    return verifier.read_payload(sent["body"], sent["headers"]["x-sha2-signature"])


def openai(sent):
    webhooks = import_module("openai").OpenAI(api_key="k").webhooks
    return webhooks.unwrap(sent["body"], sent["headers"], secret=sent["secret"])


def plivo(sent):
    given = [sent["headers"][f"x-plivo-signature-v3{end}"] for end in ("-nonce", "")]
    nonce, signature = given
    return import_module("plivo.utils").validate_v3_signature(
        "POST", sent["url"], nonce, sent["secret"], signature, form(sent)
    )


def pusher(sent):
    client = import_module("pusher").Pusher(app_id="1", key="key", secret=sent["secret"])
    names = ("x-pusher-key", "x-pusher-signature")
    return client.validate_webhook(*(sent["headers"][name] for name in names), sent["body"])


def qstash(sent):
    receiver = import_module("qstash").Receiver(current_signing_key=sent["secret"], next_signing_key="sig_other")
    receiver.verify(signature=sent["headers"]["upstash-signature"], body=sent["body"], url=sent["url"])
    return True


def resend(sent):
    headers = {name: sent["headers"][f"svix-{name}"] for name in ("id", "timestamp", "signature")}
    import_module("resend").Webhooks.verify(
        {"payload": sent["body"], "headers": headers, "webhook_secret": sent["secret"]}
    )
    return True


def shopify_query(sent):
    session = import_module("shopify").Session
    session.setup(api_key="k", secret=sent["secret"])
    return session.validate_params(dict(parse_qsl(urlsplit(sent["url"]).query, keep_blank_values=True)))


def standard_webhooks(sent):
    return import_module("standardwebhooks").Webhook(sent["secret"]).verify(sent["body"], sent["headers"])


def svix(sent):
    import_module("svix.webhooks").Webhook(sent["secret"]).verify(sent["body"], sent["headers"])
    return True


def telnyx(sent):
    client = import_module("telnyx").Telnyx(api_key="k", public_key=sent["secret"])
    return client.webhooks.unwrap(sent["body"], headers=sent["headers"])


def truelayer(sent):
    verifier = import_module("truelayer_signing").verify_with_pem(sent["secret"])
    verifier.set_method("POST").set_path(urlsplit(sent["url"]).path).set_body(sent["body"])
    verifier.add_headers(sent["headers"]).verify(sent["headers"]["tl-signature"])
    return True


def vonage(sent):
    token = sent["headers"]["authorization"].removeprefix("Bearer ")
    return import_module("vonage_jwt").verify_signature(token, sent["secret"])


def wechat_pay(sent):
    library = import_module("wechatpayv3.utils")
    key = import_module("cryptography.hazmat.primitives.serialization").load_pem_public_key(sent["secret"].encode())
    names = ("wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature")
    time, nonce, signature = (sent["headers"][name] for name in names)
    return library.rsa_verify(time, nonce, sent["body"], signature, key)


def workos(sent):
    client = import_module("workos").WorkOSClient(api_key="k", client_id="c")
    signature = sent["headers"]["workos-signature"]
    client.webhooks.verify_header(event_body=sent["body"], event_signature=signature, secret=sent["secret"])
    return True


def accepted(verify, sent):
    """Return whether a library accepts a message: one that raises, whatever it is, or says no, does not."""
    try:
        return verify(sent) not in (False, None)
    except Exception:
        return False


verify = globals()[sys.argv[1].replace("-", "_")]
if "--raise" in sys.argv:
    print(verify(json.load(sys.stdin)[0]))
else:
    print(json.dumps([accepted(verify, sent) for sent in json.load(sys.stdin)]))
