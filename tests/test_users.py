"""`hemiec db users`, the web server's user, and connections with TLS, on real servers."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from hemiec.cli.main import cli
from hemiec.errors import InputError, StoreError
from hemiec.launch.fireworks.launchpad import open_launchpad
from hemiec.settings import Settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod, find_mongod
from hemiec.store.users import (
    add_user,
    asks_for_passwords,
    ensure_reader,
    generate_password,
    list_users,
    may_write,
    password_from,
    remove_user,
    uri_of,
)

pytestmark = pytest.mark.store

UNAUTHORIZED = 13


def login(settings: Settings, name: str, password: str) -> Settings:
    """Settings of another user of the same database."""
    uri = EmbeddedMongod(settings).uri_as(name, password, settings.database)
    return settings.model_copy(update={"mongo_uri": SecretStr(uri)})


def test_each_role_can_do_its_work_and_no_more(settings: Settings, database: Database) -> None:
    passwords = {role: generate_password() for role in ("reader", "worker", "admin")}
    for role, password in passwords.items():
        add_user(database, f"a-{role}", role, password)  # type: ignore[arg-type]
    assert [(u.name, u.role) for u in list_users(database)] == [(f"a-{r}", r) for r in sorted(passwords)]

    reader = open_database(login(settings, "a-reader", passwords["reader"]))
    with closing(reader):
        assert reader["candidates"].count_documents({}) == 0 and not may_write(reader)
        for write in (
            lambda: reader["candidates"].insert_one({}),
            lambda: reader["candidates"].drop(),
            lambda: list(reader["candidates"].aggregate([{"$out": "stolen"}])),
            lambda: reader.client["other"]["x"].find_one(),
            lambda: reader.client["admin"]["system.users"].find_one(),
        ):
            with pytest.raises(OperationFailure) as refused:
                write()
            assert refused.value.code == UNAUTHORIZED
        with pytest.raises(StoreError, match="may not manage users") as told:
            add_user(reader, "b", "admin", "a-long-password")
        assert "a-long-password" not in str(told.value)

    worker = open_database(login(settings, "a-worker", passwords["worker"]))
    with closing(worker):
        worker["outputs"].insert_one({"uuid": "u", "index": 1})
        worker["outputs"].create_index("output.energy")
        assert may_write(worker)
        with pytest.raises(StoreError, match="may not manage users"):
            list_users(worker)
        with pytest.raises(OperationFailure):
            worker.client["other"]["x"].insert_one({})

    admin = open_database(login(settings, "a-admin", passwords["admin"]))
    with closing(admin):
        remove_user(admin, "a-worker")
        with pytest.raises(InputError, match="connected as"):
            remove_user(admin, "a-admin")
        with pytest.raises(OperationFailure):
            admin.client["other"].command("createUser", "b", pwd="p", roles=[])
    with pytest.raises(StoreError, match="MongoDB refused: Authentication failed"):
        open_database(login(settings, "a-worker", passwords["worker"]))


def test_wrong_names_and_passwords_change_nothing(database: Database, tmp_path: Path) -> None:
    good = generate_password()
    for name in ("", "a b", "$where", "a/b", "x" * 65, "-a", "a\n"):
        with pytest.raises(InputError, match="no name of a user"):
            add_user(database, name, "reader", good)
    for password in ("short", "", "long enough\nbut two lines"):
        with pytest.raises(InputError, match="characters") as told:
            add_user(database, "jane", "reader", password)
        assert not password or password not in str(told.value)
    with pytest.raises(InputError, match="did you mean 'reader'"):
        add_user(database, "jane", "readers", good)  # type: ignore[arg-type]
    add_user(database, "jane", "reader", good)
    with pytest.raises(InputError, match="has a user 'jane' already"):
        add_user(database, "jane", "admin", good)
    with pytest.raises(InputError, match="did you mean 'jane'"):
        remove_user(database, "jan")
    assert [user.role for user in list_users(database)] == ["reader"]
    # A file with a password is of its owner; one that was made for a user that was not added goes again.
    path = tmp_path / "password"
    with pytest.raises(InputError), password_from(path) as password:
        add_user(database, "jane", "reader", password)
    assert not path.exists()
    path.write_text("a-long-password\n")
    path.chmod(0o644)
    with pytest.raises(InputError, match="others can read it"), password_from(path):
        pass
    path.chmod(0o600)
    with password_from(path) as password:
        assert password == "a-long-password"


def test_commands_tell_a_password_once_or_never(settings: Settings, database: Database, tmp_path: Path) -> None:
    runner = CliRunner()
    printed = runner.invoke(cli, ["db", "users", "add", "jane", "--role", "reader", "--json"], catch_exceptions=False)
    told = json.loads(printed.output)
    with closing(open_database(login(settings, "jane", told["password"]))):
        pass
    assert told["password"] not in told["uri"]
    file = tmp_path / "cluster.password"
    command = ["db", "users", "add", "cluster", "--role", "worker", "--password-file", str(file)]
    printed = runner.invoke(cli, command, catch_exceptions=False)
    password = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and password not in printed.output
    listed = runner.invoke(cli, ["db", "users", "list"], catch_exceptions=False).output
    assert "cluster" in listed and "worker" in listed and password not in listed
    runner.invoke(cli, ["db", "users", "remove", "cluster"], catch_exceptions=False)
    assert [user.name for user in list_users(database)] == ["jane"]


def test_the_web_servers_user_can_only_read(settings: Settings) -> None:
    uri = ensure_reader(settings)
    assert ensure_reader(settings) == uri
    private = settings.data_dir / "mongodb" / f"reader-{settings.database}.json"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with closing(open_database(settings)) as owner:
        owner["outputs"].insert_one({"uuid": "u", "index": 1})
    reading = settings.model_copy(update={"mongo_uri": SecretStr(uri)})
    with closing(open_database(reading, read_only=True)) as reader:
        assert reader["outputs"].count_documents({}) == 1 and not may_write(reader)
    # A lost or wrong password is made anew.
    private.write_text(json.dumps({"password": "not-this-one"}))
    again = ensure_reader(settings)
    assert again != uri
    with MongoClient(again, serverSelectionTimeoutMS=5000) as client:
        assert client[settings.database]["outputs"].count_documents({}) == 1
    # A configured server has users of its own.
    assert ensure_reader(reading) == uri


def certificate(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Path:
    """Write a certificate with its key, for 127.0.0.1 or a client, signed by an issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, issuer is None, issuer is None, False, False), critical=True
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key() if issuer else key.public_key()),
            critical=False,
        )
    )
    if issuer is not None:
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    signed = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / f"{name}.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + pem)
    return path


def authority(folder: Path, name: str) -> tuple[Path, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]]:
    """Write an authority; return the file of its certificate, and what it signs with."""
    content = certificate(folder, name, None).read_bytes()
    cert = x509.load_pem_x509_certificate(content)
    key = serialization.load_pem_private_key(content, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    path = folder / f"{name}-ca.pem"
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return path, (cert, key)


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server by the template of `db_config`, without users: host with port, and the folder of certificates."""
    _, issuer = authority(tmp_path, "group")
    authority(tmp_path, "stranger")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (tmp_path / "db").mkdir()
    (tmp_path / "key").write_text("A" * 64)
    (tmp_path / "key").chmod(0o600)
    words = {"DATA_FOLDER": f"{tmp_path}/db", "LOG_FILE": f"{tmp_path}/log", "KEY_FILE": f"{tmp_path}/key"}
    words |= {"CERTIFICATE_FILE": str(certificate(tmp_path, "server", issuer)), "CA_FILE": f"{tmp_path}/group-ca.pem"}
    words |= {"HOST": "127.0.0.1", "PORT": str(port)}
    text = files("hemiec.db_config").joinpath("mongod.conf").read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    (tmp_path / "mongod.conf").write_text(text)
    program = find_mongod(Settings(data_dir=tmp_path, mongo_uri=None))
    process = subprocess.Popen([program, "--config", str(tmp_path / "mongod.conf")], stdout=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}", tmp_path
    process.terminate()
    process.wait()


def test_a_groups_server_speaks_tls_and_asks_for_passwords(encrypted: tuple[str, Path]) -> None:
    host, folder = encrypted
    tls = f"tls=true&tlsCAFile={folder}/group-ca.pem"
    # What the head of the template says: from the machine itself, while there is no user yet.
    first = f"mongodb://{host}/?{tls}&directConnection=true"
    with MongoClient(first, serverSelectionTimeoutMS=20_000) as client:
        client.admin.command("replSetInitiate", {"_id": "hemiec", "members": [{"_id": 0, "host": host}]})
        while not client.admin.command("hello")["isWritablePrimary"]:
            time.sleep(0.1)
        client.admin.command("createUser", "root", pwd="roots-password", roles=["root"])

    def settings(user: str, options: str) -> Settings:
        uri = f"mongodb://{user}@{host}/?{options if 'authSource' in options else f'authSource=secure&{options}'}"
        return Settings(data_dir=folder, mongo_uri=SecretStr(uri), database="secure")

    as_root = settings("root:roots-password", tls.replace("tls=true", "tls=true&authSource=admin"))
    with closing(open_database(as_root, timeout_ms=20_000)) as root:
        add_user(root, "owner", "admin", "owners-password")
    with closing(open_database(settings("owner:owners-password", tls))) as owner:
        add_user(owner, "cluster", "worker", "workers-password")
        assert asks_for_passwords(owner)
        assert f"tlsCAFile={quote_plus(f'{folder}/group-ca.pem')}" in uri_of("cluster", owner)
    with closing(open_database(settings("cluster:workers-password", tls))) as database:
        store = database.job_store()  # jobflow's and maggma's connections take the same options
        store.update([{"uuid": "u", "index": 1, "output": {"images": [1]}}], save={"data": ["images"]})
        assert store.get_output("u", load=True) == {"images": [1]}
        store.close()
        launchpad = open_launchpad(database)
        assert launchpad.get_fw_ids() == []
        launchpad.connection.close()
    for options, said in (
        (f"tls=true&tlsCAFile={folder}/stranger-ca.pem", "certificate is not trusted"),
        ("tls=false", "cannot be reached"),
        (f"tls=true&tlsCAFile={folder}/no-such.pem", r"no-such\.pem: HEMIEC_MONGO_URI names it"),
    ):
        with pytest.raises(StoreError, match=said) as told:
            open_database(settings("cluster:workers-password", options), timeout_ms=1500)
        assert "workers-password" not in str(told.value)
    with pytest.raises(StoreError, match="Authentication failed") as told:
        open_database(settings("cluster:wrong-password", tls))
    assert "wrong-password" not in str(told.value)
