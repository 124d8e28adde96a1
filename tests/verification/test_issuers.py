"""ID tokens as tokens of the server: those of a known issuer, for this server, by a key that the issuer publishes."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from support.key_source import AUTHORITY
from support.keys import OTHER_RSA, P256, RSA, hmac_token, key_set, pem, segment
from support.limits import limited
from support.verification import Clock
from support.wait import DEADLINE_S

from callback_process.credentials import CredentialsError
from callback_server.access import issuers as module
from callback_server.access.authenticator import Authenticator
from callback_server.access.issuers import Issuers
from callback_server.access.principals import PrincipalEntry, Principals, SubjectEntry, TokenEntry
from callback_server.access.roles import Role
from callback_server.access.tokens import new_token, token_entry
from callback_server.errors import IssuerUnavailableError, SubjectUnknownError, UnauthenticatedError
from callback_server.operations import doctor
from callback_server.settings import IssuerSettings, ServerSettings
from callback_server.verification import fetcher
from callback_server.verification.fetched_keys import AGAIN_S, KEEP_S

NOW = 1_800_000_000
NEW_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PATH, KEYS = "/login/.well-known/openid-configuration", "/keys"


class World:
    """A server of keys, and the issuers that a server knows: this one."""

    def __init__(self, source, ca_file):
        self.source = source
        self.clock, self.monotonic = Clock(NOW), Clock(1000)
        self.url = f"https://127.0.0.1:{source.port}/login"
        self.settings = {
            "audiences": ["console", "ci"], "algorithms": ["RS256", "ES256"], "ca_file": ca_file,
            "private_networks": ["127.0.0.1"],
        }  # fmt: skip
        self.configuration = {"issuer": self.url, "jwks_uri": f"https://127.0.0.1:{source.port}{KEYS}"}
        self.publish(k1=RSA)

    def publish(self, **keys):
        """Publish these keys, by id."""
        self.source.put(PATH, json.dumps(self.configuration))
        self.source.put(KEYS, key_set(**keys))

    def issuers(self, **changes):
        settings = {self.url: IssuerSettings(**self.settings | changes)}
        return Issuers(settings, clock=self.clock, monotonic=self.monotonic)

    async def fetched(self, **changes):
        """Return the issuers, with their keys."""
        made = self.issuers(**changes)
        await made.fetched[self.url].refresh()
        return made

    def token(self, key=RSA, algorithm="RS256", head=None, **claims):
        given = {"iss": self.url, "sub": "42", "aud": "console", "exp": NOW + 300, "iat": NOW} | claims
        given = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(given, key, algorithm, {"kid": "k1"} if head is None else head)


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(file)
    return file


@pytest.fixture(scope="module")
def patient():
    """Let a fetch take as long as a busy machine needs."""
    with limited(fetcher, CONNECT_TIMEOUT_S=DEADLINE_S, TIME_LIMIT_S=DEADLINE_S):
        yield


@pytest.fixture
def world(source, ca_file, patient):
    return World(source, ca_file)


@pytest.fixture
async def issuers(world):
    """Return the issuers, with their keys."""
    return await world.fetched()


@pytest.fixture(scope="module")
async def known(running_source, ca_file, patient):
    """Return a world, and its issuers with their keys, for tests that change neither."""
    world = World(running_source, ca_file)
    return world, await world.fetched()


def refused(issuers, token):
    with pytest.raises(UnauthenticatedError) as caught:
        issuers.verify(token)
    assert type(caught.value) is UnauthenticatedError
    return str(caught.value)


def test_a_token_says_who_its_bearer_is(known):
    world, issuers = known
    known = issuers.verify(world.token(name="ignored", roles=["admin"]))
    assert (known.issuer, known.subject, known.expires) == (world.url, "42", NOW + 300)
    assert issuers.verify(world.token(aud=["ci"])).subject == "42"
    assert issuers.verify(world.token(aud=["other", "ci"], azp="ci")).subject == "42"
    assert issuers.verify(world.token(aud="ci", azp="console")).subject == "42"
    assert issuers.verify(world.token(head={"typ": "jwt"})).subject == "42"


async def test_a_key_of_each_allowed_algorithm_verifies(world):
    world.publish(k1=RSA, k2=P256)
    issuers = await world.fetched()
    assert issuers.verify(world.token(P256, "ES256", {"kid": "k2"})).subject == "42"
    assert refused(issuers, world.token(P256, "ES256")) == "no key matches the token's signature"
    assert refused(issuers, world.token(algorithm="RS512")) == "the token's algorithm is not allowed"
    assert refused(issuers, world.token(algorithm="PS256")) == "the token's algorithm is not allowed"


def forged(world, algorithm):
    """Return tokens that their bearer has made: without a signature, or signed with the public key as a secret."""
    head, claims = {"alg": algorithm, "kid": "k1"}, {"iss": world.url, "sub": "42", "aud": "console", "exp": NOW + 300}
    if algorithm == "none":
        return [f"{segment(head)}.{segment(claims)}.", f"{segment(head)}.{segment(claims)}.AAAA"]
    return [hmac_token(head, claims, pem(RSA))]


@pytest.mark.parametrize("algorithm", ["none", "HS256", "hs256", "RS256 "])
def test_the_token_does_not_choose_the_algorithm(known, algorithm):
    world, issuers = known
    for token in forged(world, algorithm):
        assert refused(issuers, token) == "the token's algorithm is not allowed"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"aud": "another"}, "the token is not valid: InvalidAudienceError"),
        ({"aud": None}, "the token is not valid: MissingRequiredClaimError"),
        ({"aud": []}, "the token is not valid: MissingRequiredClaimError"),
        ({"aud": ["console", "another"]}, "the token has several audiences and no azp"),
        ({"azp": "another"}, "the token was made for another client: its azp is not one of the audiences"),
        ({"aud": ["console", "another"], "azp": "another"}, "the token was made for another client: its azp is not"),
        ({"azp": ["console"]}, "the token was made for another client"),
        ({"exp": None}, "the token is not valid: MissingRequiredClaimError"),
        ({"exp": NOW - 61}, "the token has expired"),
        ({"exp": "2999"}, "the token's exp is not a time"),
        ({"exp": True}, "the token's exp is not a time"),
        ({"nbf": NOW + 61}, "the token's nbf is in the future"),
        ({"iat": NOW + 61}, "the token's iat is in the future"),
        ({"iat": None}, "the token is not valid: MissingRequiredClaimError"),
        ({"sub": None}, "the token is not valid: MissingRequiredClaimError"),
        ({"sub": ""}, "the token's sub is not a text of 1 to 255 characters"),
        ({"sub": "s" * 256}, "the token's sub is not a text of 1 to 255 characters"),
        ({"events": {}}, "the token is no ID token"),
        ({"iss": "https://another.example"}, "the token's issuer is not known"),
        ({"iss": None}, "the token's iss is not a text"),
    ],
)
def test_a_signed_token_that_is_not_for_this_server_is_refused(known, claims, says):
    world, issuers = known
    assert says in refused(issuers, world.token(**claims))


@pytest.mark.parametrize("named", ["logout+jwt", "application/secevent+jwt", "at+jwt", ["JWT"]])
def test_what_the_issuer_signed_for_another_purpose_is_refused(known, named):
    world, issuers = known
    assert refused(issuers, world.token(head={"kid": "k1", "typ": named})) == "the token is no ID token"


@pytest.mark.parametrize(
    "token", ["eyJ..", "eyJ.eyJ.", "eyJhbGciOiJSUzI1NiJ9.e30.", "eyJ" + "a" * 20_000 + "..", "eyJ.a.ä"]
)
def test_what_is_no_token_is_refused(known, token):
    assert refused(known[1], token)


@pytest.mark.parametrize("claims", [{"exp": NOW - 59}, {"nbf": NOW + 59}, {"iat": NOW + 59}])
def test_clocks_may_differ_by_a_minute(known, claims):
    world, issuers = known
    assert issuers.verify(world.token(**claims)).subject == "42"


def test_a_remembered_token_expires_too(world, issuers):
    token = world.token()
    issuers.verify(token)
    world.clock.now += 359
    issuers.verify(token)
    world.clock.now += 1
    assert refused(issuers, token) == "the token has expired"


async def test_the_signature_of_a_token_is_verified_once_until_the_keys_are_fetched_again(world, issuers, limits):
    """A token that is verified again is read into another object."""
    limits(module, MAX_REMEMBERED=2)
    tokens = [world.token(n=n) for n in range(3)]
    first, second = (issuers.verify(token) for token in tokens[:2])
    assert issuers.verify(tokens[0]) is first
    third = issuers.verify(tokens[2])  # takes the place of the first
    assert (issuers.verify(tokens[1]), issuers.verify(tokens[2])) == (second, third)
    assert issuers.verify(tokens[1]) is second
    assert issuers.verify(tokens[0]) is not first
    world.publish(k2=NEW_RSA)
    world.monotonic.now += 3600
    await issuers.fetched[world.url].refresh()
    assert refused(issuers, tokens[0]) == "no key matches the token's signature"


async def test_a_new_key_is_fetched_for_its_first_token_and_not_for_each_forged_one(world, issuers):
    keys = issuers.fetched[world.url]
    world.publish(k1=RSA, k2=NEW_RSA)
    token = world.token(NEW_RSA, head={"kid": "k2"})
    assert refused(issuers, token) == "no key matches the token's signature"  # they were fetched just now
    world.monotonic.now += AGAIN_S
    for _ in range(2):
        with pytest.raises(IssuerUnavailableError):
            issuers.verify(token)
    assert world.source.asked.count(KEYS) == 1
    await keys.refresh()
    assert issuers.verify(token).subject == "42"
    assert world.source.asked.count(KEYS) == 2
    for n in range(5):
        assert refused(issuers, world.token(OTHER_RSA, head={"kid": f"made up {n}"}))
    world.monotonic.now += AGAIN_S
    assert refused(issuers, world.token(OTHER_RSA)) == "no key matches the token's signature"  # no new key can match
    await keys.refresh()
    assert world.source.asked.count(KEYS) == 2
    with pytest.raises(IssuerUnavailableError):  # a key without an id can be new
        issuers.verify(world.token(OTHER_RSA, head={}))


async def test_while_the_issuer_is_down_its_tokens_are_neither_accepted_nor_refused_until_it_is_back(world):
    world.source.answers.clear()
    issuers = await world.fetched()
    keys = issuers.fetched[world.url]
    token = world.token()
    with pytest.raises(IssuerUnavailableError):
        issuers.verify(token)
    assert keys.problems() == [f"{world.url}/.well-known/openid-configuration: the answer is a 404"]
    for _ in range(5):  # the time until the next retry doubles
        world.monotonic.now += await keys.refresh()
        await keys.refresh()
    world.publish(k1=RSA)
    world.monotonic.now += AGAIN_S
    with pytest.raises(IssuerUnavailableError):
        issuers.verify(token)
    await keys.refresh()
    assert issuers.verify(token).subject == "42"
    world.source.answers.clear()
    world.monotonic.now += KEEP_S - 1
    await keys.refresh()
    assert issuers.verify(world.token(n=2)).subject == "42"  # with the last keys
    world.monotonic.now += 1
    with pytest.raises(IssuerUnavailableError):
        issuers.verify(token)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"issuer": "https://another.example"}, "the configuration names another issuer"),
        ({"jwks_uri": "http://127.0.0.1/keys"}, "the configuration has no jwks_uri with https"),
        ({"jwks_uri": None}, "the configuration has no jwks_uri with https"),
        ({"jwks_uri": "https://192.0.2.1/keys"}, "192.0.2.1 has the address 192.0.2.1, which is not public"),
    ],
)
async def test_a_wrong_configuration_gives_no_keys(world, changed, problem):
    world.configuration |= changed
    world.publish(k1=RSA)
    issuers = await world.fetched()
    assert issuers.fetched[world.url].problems() == [f"{world.url}/.well-known/openid-configuration: {problem}"]


async def test_a_private_issuer_is_reached_only_in_the_networks_of_the_settings(world):
    for networks in ([], ["10.0.0.0/8", "127.0.0.2"]):
        issuers = await world.fetched(private_networks=networks)
        [problem] = issuers.fetched[world.url].problems()
        assert problem.endswith("127.0.0.1 has the address 127.0.0.1, which is not public")
    assert world.source.asked == []


async def test_its_certificate_is_verified_by_the_authorities_of_the_settings(world, tmp_path):
    issuers = await world.fetched(ca_file=None)
    [problem] = issuers.fetched[world.url].problems()
    assert "certificate verify failed" in problem
    (tmp_path / "no.pem").write_text("no certificate")
    for file in (tmp_path / "no.pem", tmp_path / "absent.pem"):
        with pytest.raises(CredentialsError, match=rf"issuers\.{world.url}\.ca_file {file}: "):
            world.issuers(ca_file=file)


def authenticator(world, issuers, token):
    entries = {
        "alice": PrincipalEntry(roles={Role.OWNER}, subjects=[SubjectEntry(issuer=world.url, subject="42")]),
        "orders": PrincipalEntry(roles={Role.OWNER}, tokens=[TokenEntry.model_validate(token_entry(token, None))]),
    }
    return Authenticator(lambda: Principals(entries), issuers=issuers)


class Context:
    """The part of the context of a request that authentication needs."""

    def __init__(self, token):
        self._token = token

    def invocation_metadata(self):
        return (("authorization", f"Bearer {self._token}"),)


async def test_the_principals_file_alone_decides_what_the_bearer_may_do(world):
    token = new_token()
    access = authenticator(world, await world.fetched(), token)
    assert access.authenticate(Context(world.token(roles=["admin"])), Role.OWNER).name == "alice"
    assert access.authenticate(Context(token), Role.OWNER).name == "orders"
    unknown = world.token(sub="43", email="alice@shop.example")
    with pytest.raises(SubjectUnknownError, match=f"no principal has the subject 43 of {world.url}"):
        access.authenticate(Context(unknown), Role.OWNER)
    for each, kind in ((unknown, SubjectUnknownError), (world.token(aud="x"), UnauthenticatedError), (token, None)):
        error = access.early_refusal(Context(each).invocation_metadata())
        assert (error and type(error)) == kind


async def test_the_principal_of_an_id_token_expires_with_it(world):
    token = new_token()
    access = authenticator(world, await world.fetched(), token)
    assert access.authenticate(Context(world.token(exp=NOW + 200)), Role.OWNER).expires == NOW + 200
    assert access.authenticate(Context(token), Role.OWNER).expires is None


def test_an_issuer_that_is_down_hinders_no_other_token(world):
    token = new_token()
    access = authenticator(world, world.issuers(), token)
    assert access.authenticate(Context(token), Role.OWNER).name == "orders"
    assert type(access.early_refusal(Context(world.token()).invocation_metadata())) is IssuerUnavailableError


async def test_doctor_fetches_the_keys_of_each_issuer(world, tmp_path):
    settings = ServerSettings(principals_file=tmp_path / "p.toml", issuers={world.url: world.settings})
    [finding] = [each async for each in doctor.check_issuers(settings)]
    assert (finding.level, finding.check, finding.seen) == ("ok", f"issuer {world.url}", "its keys can be fetched")
    world.source.answers.clear()
    [finding] = [each async for each in doctor.check_issuers(settings)]
    assert (finding.level, finding.seen) == (
        "problem",
        f"its keys cannot be fetched: {world.url}/.well-known/openid-configuration: the answer is a 404",
    )
    (tmp_path / "p.toml").write_text(
        f'[principals.edge]\nroles = ["edge"]\nsubjects = [{{issuer = "{world.url}", subject = "1"}}]\n'
        f'[principals.eve]\nroles = ["owner"]\nsubjects = [{{issuer = "{world.url}/", subject = "1"}}]\n'
    )
    warned = [(each.check, each.seen) async for each in doctor.check_principals(settings) if each.level == "warning"]
    assert warned == [
        ("principal eve", "it has no valid token, subject or certificate, so it has no access"),
        ("principal eve", f"its subjects of {world.url}/ have no effect: the server does not know the issuer"),
    ]
