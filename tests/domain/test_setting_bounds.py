"""Settings with values out of bounds: each is refused by name, with a message for the author of the file."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callback.v1 import callbacks_service_pb2 as pb2
from callback.v1 import operations_service_pb2 as operations
from callback_edge.settings import EdgeSettings
from callback_process.settings import SettingsError
from callback_server.access.tokens import check_name
from callback_server.contract.validation import violations
from callback_server.domain.case import FORM, RECORD
from callback_server.limits.body_bytes import BodyBytes
from callback_server.settings import ServerSettings

REFUSED = {
    "edge": [
        ('brand_color = "red"', "brand_color: "),
        ('brand_color = "#ffee00"', "brand_color #ffee00 has a contrast of 1.2 to the page, which is #ffffff;"),
        ('brand_color = "#1a56b8"\nbrand_color_dark = "#1a2f4a"',
         "brand_color_dark #1a2f4a has a contrast of 1.2 to the page, which is #1a2027; at least 3 is needed"),
        ('brand_url = "https://acme.example"', "brand_url needs a brand_name"),
        ('brand_name = "Acme"\nbrand_url = "javascript:x"', "brand_url: "),
        ('brand_color_dark = "#ffffff"', "brand_color_dark needs a brand_color"),
        ('brand_logo_dark_file = "logo.svg"', "brand_logo_dark_file needs a brand_logo_file"),
        ("invoke_timeout_s = inf", "invoke_timeout_s: must be less than or equal to 3600"),
        ("keep_alive_timeout_s = inf", "keep_alive_timeout_s: must be less than or equal to 3600"),
        ("keep_alive_timeout_s = 0", "keep_alive_timeout_s: must be greater than 0"),
        ("head_timeout_s = inf", "head_timeout_s: must be less than or equal to 3600"),
        ("head_timeout_s = 0", "head_timeout_s: must be greater than 0"),
        ("body_timeout_s = inf", "body_timeout_s: must be less than or equal to 3600"),
        ("drain_s = inf", "drain_s: must be less than or equal to 86400"),
        ('trusted_proxies = ["10.0.0.1/24"]',
         "trusted_proxies.0: must be 10.0.0.0/24 for the network, or 10.0.0.1 for the address alone"),
        ('trusted_proxies = ["proxy"]', "trusted_proxies.0: must be an address or a network, as in"),
        ("trusted_proxies = [5]", "trusted_proxies.0: must be an address or a network, as in"),
        ('bind = "127.0.0.1:8081"', "bind and admin_bind are the same address, 127.0.0.1:8081"),
    ],
    "server": [
        ("drain_s = inf", "drain_s: must be less than or equal to 86400"),
        ("grace_s = nan", "grace_s: must be"),
        ("grace_s = 1e300", "grace_s: must be less than or equal to 86400"),
        ('grace_s = "soon"', "grace_s: must be a number"),
        ('retention_s = "a week"', "retention_s: must be a whole number"),
        ("retention_s = 1.5", "retention_s: must be a whole number"),
        ('reflection = "perhaps"', "reflection: must be true or false"),
        ('state_key = "short"', "state_key: must have at least 32 characters"),
        ("state_key_file = 5", "state_key_file: must be the path of a file"),
        ('[server.issuers."http://login.example"]\naudiences = ["a"]',
         "issuers.http://login.example.[key]: must be the https URL of the issuer as its tokens have it,"),
        ('[server.issuers."https://login.example?a=1"]\naudiences = ["a"]',
         "issuers.https://login.example?a=1.[key]: must"),
        ('[server.issuers."https://login.example"]\naudiences = []', "issuers.https://login.example.audiences: must"),
        ('[server.issuers."https://login.example"]\naudiences = ["a"]',
         "issuers needs principals_file, whose entries say who gets in"),
        ('[server.issuers."https://login.example"]\naudiences = ["a"]\nalgorithms = ["HS256"]',
         "issuers.https://login.example.algorithms.0: must be 'RS256', "),
        ('[server.issuers."https://login.example"]\naudiences = ["a"]\nprivate_networks = ["10.0.0.1/8"]',
         "issuers.https://login.example.private_networks.0: must be 10.0.0.0/8 for the network, or"),
        ('grpc_bind = "127.0.0.1:8082"', "grpc_bind and admin_bind are the same address, 127.0.0.1:8082"),
        ('box_url = "https://box.example/callbacks"',
         "box_url: must be http(s)://host or http(s)://host:port, without a path, because the edge serves /cb/ at the"),
        ('box_url = "https://box.example/"', "box_url: must be http(s)://host or"),
        ('box_url = "Box.example:8443"', "box_url: must be http(s)://host or http(s)://host:port,"),
        ('platform_url = "shop.example"', "platform_url: must be an http(s) URL without user, query,"),
        ('platform_url = "https://shop.example/"', "platform_url: must be an http(s) URL without user"),
        ('redirect_schemes = ["shopapp://"]', "redirect_schemes.0: must be the scheme of a URL in lower case, without"),
        ('redirect_schemes = ["shopapp", "javascript"]', "redirect_schemes.1: is never allowed"),
        ('redirect_schemes = ["https"]', "redirect_schemes.0: is always allowed"),
        ('alternative_domains = ["https://a.example", "Pay.example:8443"]',
         "alternative_domains.1: must be https://host or https://host:port, without a path, as in"),
        ('alternative_domains = ["http://pay.example/cb"]',
         "alternative_domains.0: must be https://host or https://host:port, without a path, as in https://pay.example"),
        ('alternative_domains = ["https://me:hunter2@pay.example"]',
         "alternative_domains.0: must be https://host or https://host:port, without a path"),
        ('box_url = "https://pay.example"\ncookie_domains = {"https://Pay.example:8443" = "orders"}',
         "cookie_domains: the host of https://pay.example:8443 is also that of every owner (box_url)"),
    ],
    "server.cookie_domains": [
        ('"pay.example" = "orders"', "cookie_domains.pay.example.[key]: must be https://"),
        ('"https://pay.example" = "orders"\n"https://pay.example:8443" = "refunds"',
         "cookie_domains: the host of https://pay.example:8443 is also that of orders"),
        ('"https://pay.example" = "orders"\n"https://Pay.example:443" = "refunds"',
         "cookie_domains: a domain is reserved twice"),
        ('"https://pay.example" = ""', "cookie_domains.https://pay.example: must"),
    ],
    "activities.a": [
        ('target = "127.0.0.1:99999"', "activities.a.target: is not valid. Use HOST:PORT or a gRPC"),
        ('target = "127.0.0.1:0"', "activities.a.target: is not valid. Use HOST:PORT or a gRPC"),
        ('target = "10.0.0.1,10.0.0.2:1"', "activities.a.target: has no port"),
        ('target = "dns:///orders"', "activities.a.target: has no port. Use HOST:PORT"),
        ('target = "ipv4:10.0.0.1,10.0.0.2:1"', "activities.a.target: has no port"),
        ('target = "http://orders:1"', "activities.a.target: must be https: http is for a handler on this machine"),
        ('target = "https://me:hunter2@orders.example/"', "activities.a.target: must have no user or password"),
        ('target = "https://orders.example/#a"', "activities.a.target: must have no fragment"),
        ('target = "https://"', "activities.a.target: must have the name or address of a host"),
        ('target = "https://orders.example:0/"', "activities.a.target: must have the name or address of a host"),
        ('target = "https://orders.example:65536/"', "activities.a.target: is not a URL"),
        ('target = "https://orders.example/a b"', "activities.a.target: must have at most 2048 printable"),
        ('target = "https://orders.example/"', "activities.a: a target that is a URL needs http.secret_files"),
        ('target = "h:1"\nhttp = {secret_files = ["s"]}', "activities.a: http needs a target that is a URL"),
        ('target = "http://localhost:1"\ntls = {}\nhttp = {secret_files = ["s"]}',
         "activities.a: tls needs an https target"),
        ('target = "https://o.example"\nhttp = {secret_files = []}', "activities.a.http.secret_files: must"),
        ('target = "https://o.example"\nhttp = {secret_files = ["a", "b", "c"]}',
         "activities.a.http.secret_files: must"),
        ('target = "https://o.example"\nhttp = {secret_files = ["a"], request_headers = ["Webhook-Id"]}',
         "activities.a.http.request_headers.0: is a header that the server sets itself"),
        ('target = "https://o.example"\nhttp = {secret_files = ["a"], request_headers = ["callback-x"]}',
         "activities.a.http.request_headers.0: is a header that the server sets itself"),
        ('target = "https://o.example"\nhttp = {secret_files = ["a"], request_headers = ["a b"]}',
         "activities.a.http.request_headers.0: must be the name of a header"),
        ('target = "https://o.example"\nhttp = {secret_files = ["a"], response_headers = ["Refresh"]}',
         "activities.a.http.response_headers.0: cannot be chosen"),
        ('target = "https://o.example"\nhttp = {secret_files = ["a"], response_headers = ["callback-decision"]}',
         "activities.a.http.response_headers.0: is a header for the server"),
        ("deadline_s = nan", "activities.a.deadline_s: must be"),
        ('targets = ""', "activities.a.targets: unknown"),
    ],
    'activities."a\\u0007b"': [
        ('target = "h:1"', "activities: the name of an activity has 1 to 200 characters"),
    ],
}  # fmt: skip
"""By table: lines, and the problem that each must have, without its origin or from its beginning."""


@pytest.mark.parametrize(("table", "line", "said"), [(table, *row) for table, rows in REFUSED.items() for row in rows])
def test_invalid_settings_are_refused_by_name(tmp_path, table, line, said):
    path = tmp_path / "callback.toml"
    path.write_text(f"[{table}]\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        (EdgeSettings if table == "edge" else ServerSettings).load(path)
    is_shared = table.startswith("activities")
    origin = path if is_shared else f"[{table.partition('.')[0]}] of {path}"
    problems = [problem.replace(f" ({origin})", "") for problem in caught.value.problems]
    assert any(problem.startswith(said) for problem in problems), problems


@pytest.mark.parametrize(
    "target", ["orders:1", "[::1]:1", "dns:///orders:1", "ipv4:10.0.0.1:1,10.0.0.2:2", "unix:/run/orders.sock"]
)
def test_a_handler_is_where_grpc_can_connect_to(target):
    assert ServerSettings(activities={"a": {"target": target}}).activities["a"].target == target


def test_an_owner_can_have_no_limit_of_bodies_of_its_own(tmp_path):
    path = tmp_path / "callback.toml"
    path.write_text("[server]\nmax_body_bytes_in_flight_per_owner = 0\n")
    limit = BodyBytes(1000, ServerSettings.load(path).max_body_bytes_in_flight_per_owner)
    limit.reserve(1000).charge("orders")
    assert not limit.limited()


def test_urls_of_hosts_are_read_in_any_spelling():
    settings = ServerSettings(
        box_url="HTTPS://Box.Example:443",
        alternative_domains=["https://PAY.example", "https://pay.example:8443", "https://[::443]:443"],
        cookie_domains={"https://Orders.example": "orders"},
    )
    assert settings.box_url == "https://box.example"
    assert settings.alternative_domains == ["https://pay.example", "https://pay.example:8443", "https://[::443]"]
    assert settings.cookie_domains == {"https://orders.example": "orders"}
    assert ServerSettings(box_url="http://box.example:80").box_url == "http://box.example"
    assert ServerSettings(platform_url="https://shop.example/Sub").platform_url == "https://shop.example/Sub"


@pytest.mark.parametrize(
    "settings",
    [{"alternative_domains": ["https://me:hunter2@pay.example"]}, {"box_url": "https://me:hunter2@/x"},
     {"platform_url": "https://hunter2@shop.example"}, {"box_url": "https://me:hunter2/3@pay.example"}],
)  # fmt: skip
def test_a_password_in_a_url_is_not_in_the_error(settings):
    with pytest.raises(ValueError, match="must be") as caught:
        ServerSettings(**settings)
    assert "hunter2" not in str(caught.value)


def test_ports_that_the_system_picks_differ():
    ServerSettings(grpc_bind="127.0.0.1:0", admin_bind="127.0.0.1:0")
    EdgeSettings(bind="127.0.0.1:0", admin_bind="127.0.0.1:0")


# ---- Names have one rule, in the contract and in the settings ----

NAMES = (
    st.text(max_size=3)
    | st.from_regex(r"[a-z0-9._\-]{1,64}", fullmatch=True)
    | st.builds(lambda size, end: "x" * size + end, st.integers(60, 202), st.text(max_size=2))
)


def is_accepted(use, *arguments, **fields):
    try:
        use(*arguments, **fields)
    except ValueError:
        return False
    return True


@given(NAMES.filter(lambda name: name not in (RECORD, FORM)))
@example("x" * 200)
@example("x" * 201)
@example("\x7f")
@example("\x9f")
@example("\xa0")
@example("x\n")
def test_an_activity_can_be_declared_exactly_if_a_callback_can_name_it(name):
    request = operations.PauseActivityRequest(callback_activity=name)
    assert is_accepted(ServerSettings, activities={name: {"target": "h:1"}}) is (not violations(request))


@given(NAMES.filter(bool))  # in the contract, no name means no profile
@example("x" * 63)
@example("x" * 64)
@example("X")
@example(".x")
@example("x\n")
def test_profiles_and_principals_can_have_exactly_the_names_of_the_contract(name):
    request = pb2.GenerateCallbackUrlRequest(callback_activity="a", verification_profile=name)
    request.response.response_body = b""
    expected = not violations(request)
    profile = {"kind": "basic", "username": "u", "secret_files": ["s"]}
    assert is_accepted(ServerSettings, profiles={name: profile}) is expected
    assert is_accepted(check_name, name) is expected
