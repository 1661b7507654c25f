"""Settings from the environment: read exactly, or refused at once."""

from __future__ import annotations

import stat

import pytest

from alphastrat import env


@pytest.fixture
def variable(monkeypatch):
    def put(value, name="SUBJECT"):
        monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("raw", "value"), [("1", True), ("Yes", True), (" on ", True), ("0", False), ("", False)]
)
def test_a_boolean_is_one_of_a_few_words(variable, raw, value):
    variable(raw)
    assert env.env_bool("SUBJECT", default=not value) is value


@pytest.mark.parametrize(
    ("read", "raw", "sentence"),
    [
        (lambda: env.env_bool("SUBJECT", default=True), "maybe", "true, false"),
        (lambda: env.env_int("SUBJECT", 1), "1.5", "whole number"),
        (lambda: env.env_int("SUBJECT", 1, minimum=1), "0", "at least 1"),
        (lambda: env.env_int("SUBJECT", 1, maximum=9), "10", "at most 9"),
        (lambda: env.env_float("SUBJECT", 1.0), "nan", "a number"),
        (lambda: env.env_float("SUBJECT", 1.0), "fast", "a number"),
    ],
)
def test_nonsense_is_refused_by_name(variable, read, raw, sentence):
    variable(raw)
    with pytest.raises(env.ConfigurationError, match=f"SUBJECT must be .*{sentence}"):
        read()


def test_a_list_drops_blanks(variable):
    variable(" a, b ,,")
    assert env.env_list("SUBJECT") == ["a", "b"]
    assert env.env_list("ABSENT", ("c",)) == ["c"]


def test_a_secret_can_live_in_a_file(variable, tmp_path):
    path = tmp_path / "secret"
    path.write_text("hidden\n")
    variable(str(path), "SUBJECT_FILE")
    assert env.env_secret("SUBJECT") == "hidden"
    variable("shown")
    with pytest.raises(env.ConfigurationError, match="not both"):
        env.env_secret("SUBJECT")


def test_an_absent_secret_file_is_refused(variable):
    variable("/nowhere/secret", "SUBJECT_FILE")
    with pytest.raises(env.ConfigurationError, match="/nowhere/secret, which cannot be read"):
        env.env_secret("SUBJECT")


def test_a_database_url_is_taken_apart():
    config = env.database_config("postgres://us%40er:p%2Fw@db.example:6000/name?sslmode=require")
    assert config["USER"] == "us@er"
    assert config["PASSWORD"] == "p/w"
    assert (config["HOST"], config["PORT"], config["NAME"]) == ("db.example", "6000", "name")
    assert config["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize(
    "url",
    ["sqlite:///file", "mysql://host/name", "postgres://host", "postgres://host:port/name", "name"],
)
def test_anything_but_a_postgresql_url_is_refused(url):
    with pytest.raises(env.ConfigurationError, match="DATABASE_URL must look like postgres://"):
        env.database_config(url)


def test_the_key_is_made_once_and_ours_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    key = env.secret_key(tmp_path / "var")
    path = tmp_path / "var" / "secret_key"
    assert len(key) > 50
    assert env.secret_key(tmp_path / "var") == key
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("SECRET_KEY", "given")
    assert env.secret_key(tmp_path / "var") == "given"


@pytest.mark.parametrize(
    ("url", "port", "use_tls", "use_ssl"),
    [
        ("smtp://mail.example", 25, False, False),
        ("smtp+tls://me:pw@mail.example", 587, True, False),
        ("smtps://mail.example:466", 466, False, True),
    ],
)
def test_a_mail_url_is_taken_apart(variable, url, port, use_tls, use_ssl):
    variable(url, "EMAIL_URL")
    config = env.email()
    assert (config.host, config.port) == ("mail.example", port)
    assert (config.use_tls, config.use_ssl) == (use_tls, use_ssl)


def test_mail_goes_to_files_unless_a_server_is_named(monkeypatch):
    monkeypatch.delenv("EMAIL_URL", raising=False)
    assert env.email().backend.endswith("filebased.EmailBackend")


def test_an_encryption_key_is_made_once_and_given_ones_come_first(tmp_path, monkeypatch):
    (kept,) = env.encryption_keys(tmp_path / "var")
    path = tmp_path / "var" / "encryption_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert env.encryption_keys(tmp_path / "var") == [kept]
    newer = "A" * 43 + "="
    monkeypatch.setenv("ALPHASTRAT_ENCRYPTION_KEYS", f"{newer}, {kept}")
    assert env.encryption_keys(tmp_path / "var") == [newer, kept]


@pytest.mark.parametrize("given", ["short", "A" * 43, "not base64!", "A" * 60])
def test_an_encryption_key_that_is_none_is_refused_without_showing_it(tmp_path, monkeypatch, given):
    monkeypatch.setenv("ALPHASTRAT_ENCRYPTION_KEYS", given)
    with pytest.raises(env.ConfigurationError, match="Key 1 of") as refusal:
        env.encryption_keys(tmp_path)
    assert given not in str(refusal.value)
