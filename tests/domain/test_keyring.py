"""The keyring, and the values that it seals: they open at their own place, with their own key, and nowhere else."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from callback_process.credentials import CredentialsError
from callback_server.sealing.envelope import Place, SealedValueError
from callback_server.sealing.keyring import KeyMissingError, Keyring, KeyringFile

VECTORS = json.loads(Path(__file__).with_name("sealed_values.json").read_text())
HERE = Place("orders", "profile secret", "shop-17/1")
OLD, NEW = b"o" * 32, b"n" * 32


def in_base64(key):
    return base64.b64encode(key).decode()


def content(current="new", **keys):
    lines = [f'{name} = "{in_base64(key)}"' for name, key in (keys or {"old": OLD, "new": NEW}).items()]
    return "\n".join([f'current = "{current}"', "[keys]", *lines])


def keyring_of(tmp_path, text):
    path = tmp_path / "keyring.toml"
    path.write_text(text)
    return KeyringFile(path)


def opened_by_the_format(key, place, sealed):
    """Open a value by the text of `envelope` alone: HKDF from HMACs (RFC 5869), and the mode of the cipher."""
    end = 2 + sealed[1] + 32
    head, body, tag = sealed[:end], sealed[end:-16], sealed[-16:]
    extracted = hmac.digest(head[-32:], key, hashlib.sha256)
    derived = hmac.digest(extracted, b"callback sealed value 1\x01", hashlib.sha256)
    parts = [place[name].encode() for name in ("owner", "kind", "id")]
    decryptor = Cipher(algorithms.AES(derived), modes.GCM(bytes(12), tag)).decryptor()
    decryptor.authenticate_additional_data(head + b"".join(len(each).to_bytes(4, "big") + each for each in parts))
    return decryptor.update(body) + decryptor.finalize()


@pytest.mark.parametrize("vector", VECTORS, ids=[each["name"] for each in VECTORS])
def test_the_published_values_open(vector):
    key, sealed, plain = (bytes.fromhex(vector[name]) for name in ("key", "sealed", "plain"))
    place = Place(**vector["place"])
    assert Keyring({vector["key_id"]: key}, vector["key_id"]).open(place, sealed) == plain
    assert opened_by_the_format(key, vector["place"], sealed) == plain


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_by_the_written_format(plain):
    keyring = Keyring({"k": NEW}, "k")
    sealed = keyring.seal(HERE, plain)
    place = {"owner": HERE.owner, "kind": HERE.kind, "id": HERE.id}
    assert keyring.open(HERE, sealed) == opened_by_the_format(NEW, place, sealed) == plain


def test_the_same_value_is_sealed_differently_each_time():
    keyring = Keyring({"k": NEW}, "k")
    assert len({keyring.seal(HERE, b"secret") for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "place",
    [
        Place("other", "profile secret", "shop-17/1"),
        Place("orders", "response body", "shop-17/1"),
        Place("orders", "profile secret", "shop-17/2"),
        Place("ordersp", "rofile secret", "shop-17/1"),
        Place("orders", "profile secrets", "hop-17/1"),
    ],
)
def test_a_value_that_was_moved_does_not_open(place):
    keyring = Keyring({"k": NEW}, "k")
    with pytest.raises(SealedValueError, match="for another place"):
        keyring.open(place, keyring.seal(HERE, b"secret"))


def test_a_value_of_which_any_byte_was_changed_or_cut_off_does_not_open():
    keyring = Keyring({"k": NEW}, "k")
    sealed = keyring.seal(HERE, b"secret")
    for at in range(len(sealed)):
        with pytest.raises(SealedValueError):
            keyring.open(HERE, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        with pytest.raises(SealedValueError):
            keyring.open(HERE, sealed[:at])
    with pytest.raises(SealedValueError):
        keyring.open(HERE, sealed + b"x")


@given(st.binary(max_size=120))
def test_bytes_that_were_never_sealed_are_refused(garbage):
    with pytest.raises(SealedValueError):
        Keyring({"k": NEW}, "k").open(HERE, garbage)


def test_a_value_whose_key_is_gone_names_the_key_and_all_others_open():
    both = Keyring({"old": OLD, "new": NEW}, "old")
    sealed_by_old = both.seal(HERE, b"old secret")
    without_old = Keyring({"new": NEW}, "new")
    with pytest.raises(KeyMissingError, match="no key old"):
        without_old.open(HERE, sealed_by_old)
    assert both.open(HERE, without_old.seal(HERE, b"new secret")) == b"new secret"


def test_another_key_under_the_same_id_does_not_open():
    with pytest.raises(SealedValueError, match="another key of the same id"):
        Keyring({"k": OLD}, "k").open(HERE, Keyring({"k": NEW}, "k").seal(HERE, b"secret"))


def test_a_changed_file_is_reloaded_and_one_with_a_mistake_changes_nothing(tmp_path):
    file = keyring_of(tmp_path, content("old", old=OLD))
    sealed = file.keyring.seal(HERE, b"secret")
    keyring_of(tmp_path, content("new", old=OLD, new=NEW))
    file.reload()
    assert (file.keyring.current, file.keyring.ids) == ("new", ["new", "old"])
    (tmp_path / "keyring.toml").write_text("current = ")
    file.reload()
    (tmp_path / "keyring.toml").unlink()
    file.reload()
    assert file.keyring.current == "new"
    assert file.keyring.open(HERE, sealed) == b"secret"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "current: must be given"),
        ('current = "a"', "keys: must be given"),
        ('current = "a"\n[keys]\n', "keys: must have at least 1 of them"),
        (content("gone"), "current names gone, which is not one of the keys"),
        (content("A", A=NEW), "current: must match"),
        (content("a", a=b"hunter2"), "keys.a: must be 32 bytes in base64, as from: head -c 32 /dev/urandom | base64"),
        ('current = "a"\n[keys]\na = "hunter2!"', "keys.a: must be 32 bytes in base64"),
        (content() + '\n[other]\nx = "hunter2"', "other: unknown"),
        ("current = " + "[" * 5000, "is nested too deeply"),
        ('current = "hunter2', "is not TOML: "),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_name_without_its_content(tmp_path, text, problem):
    with pytest.raises(CredentialsError) as error:
        keyring_of(tmp_path, text)
    assert str(error.value).startswith(f"keyring_file {tmp_path / 'keyring.toml'}: {problem}")
    assert "hunter2" not in str(error.value)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "keyring.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CredentialsError, match="is not UTF-8"):
        KeyringFile(tmp_path / "keyring.toml")
