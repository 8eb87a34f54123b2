"""`hemiec config render`: private copies that work, all or none, and no secret where others can read it."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from hemiec.errors import HemiecError, InputError, StoreError
from hemiec.launch.cluster.config import Configuration, given_settings, render, write_private
from hemiec.launch.cluster.mongo_uri import check_uri, has_secret, is_exposed, lacks_password, masked, only_here
from hemiec.launch.cluster.qadapters import Qadapter
from hemiec.launch.cluster.scheduler import seconds_of
from hemiec.launch.cluster.sites import make_site, never_started, site_content, site_names
from hemiec.settings import Settings
from hemiec.store.mongod import EmbeddedMongod

BIN = Path(sys.executable).parent
URI = "mongodb://me:s%40cret@db.example.org:27018,db2.example.org/?tls=true&tlsCAFile=/etc/no-such-ca.pem&authSource=admin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real MongoDB server with a password."""
    mongod = EmbeddedMongod(Settings(data_dir=tmp_path_factory.mktemp("server"), mongo_uri=None))
    yield mongod.up()
    mongod.down()


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEMIEC_", "FW_", "JOBFLOW_", "JFREMOTE_"))}
    return kept | {"HEMIEC_CONFIG_FILE": str(tmp_path / "none.yaml"), "HEMIEC_DATA_DIR": str(tmp_path / "data"), **more}


def hemiec(tmp_path: Path, *words: str, umask: int = 0o022, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "hemiec"), *words],
        env=environment(tmp_path, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=umask,
        check=False,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.store
def test_the_copies_are_private_and_the_password_is_nowhere_else(tmp_path: Path, server: str) -> None:
    password = server.split("//")[1].split("@")[0].split(":")[1]
    to = tmp_path / "config"
    done = hemiec(
        tmp_path, "config", "render", "--to", str(to), "--scheduler", "slurm", umask=0, HEMIEC_MONGO_URI=server
    )
    assert done.returncode == 0, done.stderr
    assert password not in done.stdout + done.stderr and "hemiec:***@127.0.0.1" in done.stdout
    assert "written to and read" in done.stdout and f"source {to}/profile.sh" in done.stdout
    assert mode(to) == 0o700
    files = {path.name: path.read_text() for path in to.iterdir()}
    assert {mode(to / name) for name in files} == {0o600}
    assert {name for name, text in files.items() if password in text} == {
        *("hemiec.yaml", "my_launchpad.yaml", "jobflow.yaml")
    }
    assert list(tmp_path.glob(".*")) == []  # nothing is left of the preparations
    settings = yaml.safe_load(files["hemiec.yaml"])
    assert settings == {"mongo_uri": server, "database": "hemiec", "data_dir": str(tmp_path / "data")}


@pytest.mark.store
def test_fireworks_and_jobflow_work_on_the_copies(tmp_path: Path, server: str) -> None:
    """A new shell that sources profile.sh: hemiec, lpad and rlaunch, in their own processes."""
    to = tmp_path / "config"
    words = ("--site", "slurm-gpu", "--account", "ab12", "--database", "group", "--name", "test")
    done = hemiec(tmp_path, "config", "render", "--to", str(to), *words, HEMIEC_MONGO_URI=server)
    assert done.returncode == 0, done.stderr
    add = tmp_path / "add.py"
    add.write_text(
        "from fireworks import LaunchPad\n"
        "from jobflow import Flow, job\n"
        "from jobflow.managers.fireworks import flow_to_workflow\n"
        "from hemiec.workflows.jobs import GivenMomentsMaker\n"
        "from pymatgen.core import Structure\n"
        "launchpad = LaunchPad.auto_load()\n"
        "launchpad.reset('', require_password=False)\n"
        "cell = Structure([[3, 0, 0], [0, 3, 0], [0, 0, 3]], ['Po'], [[0, 0, 0]])\n"
        "for category in ('mlip', 'dft'):\n"
        "    one = GivenMomentsMaker(moments=[1.0]).make(cell)\n"
        "    one.config.manager_config['_category'] = category\n"
        "    launchpad.add_wf(flow_to_workflow(Flow([one])))\n"
        "launchpad.connection.close()\n"
    )
    script = f"""
        set -e
        source {to}/profile.sh
        python {add} > /dev/null
        lpad get_fws -s READY -d count
        rlaunch -w {to}/my_fworker_mlip.yaml singleshot > /dev/null
        rlaunch -w {to}/my_fworker_mlip.yaml singleshot > /dev/null
        lpad get_fws -s COMPLETED -d count
        rlaunch -c {to} singleshot > /dev/null
        lpad get_fws -s COMPLETED -d count
        hemiec db status
    """
    work = tmp_path / "work"
    work.mkdir()
    # A server that the shell still names must not matter.
    shell = subprocess.run(
        ["bash", "-c", script],
        env=environment(tmp_path, HEMIEC_MONGO_URI="mongodb://127.0.0.1:1/"),
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr
    said = shell.stdout.splitlines()
    numbers = [line for line in said if line.strip().isdigit()]
    assert numbers == ["2", "1", "2"], shell.stdout
    assert "database 'group'" in shell.stdout and any(line.split() == ["2", "outputs"] for line in said)


@pytest.mark.store
def test_what_is_in_use_is_shown_without_secrets(tmp_path: Path, server: str) -> None:
    to = tmp_path / "config"
    assert (
        hemiec(tmp_path, "config", "render", "--to", str(to), "--scheduler", "sge", HEMIEC_MONGO_URI=server).returncode
        == 0
    )
    more = {"HEMIEC_CONFIG_FILE": str(to / "hemiec.yaml"), "FW_CONFIG_FILE": str(to / "FW_config.yaml")}
    shown = hemiec(tmp_path, "config", "show", "--json", HEMIEC_WORKERS="3", **more)
    assert shown.returncode == 0, shown.stderr
    rows = yaml.safe_load(shown.stdout)
    assert rows["workers"] == {"value": 3, "from": "HEMIEC_WORKERS"}
    assert rows["mongo_uri"] == {"value": masked(server), "from": str(to / "hemiec.yaml")}
    assert rows["mongod"]["from"] == "default" and rows["FW_CONFIG_FILE"]["value"] == more["FW_CONFIG_FILE"]
    assert "***" in hemiec(tmp_path, "config", "show", **more).stdout


@pytest.mark.store
def test_a_server_that_refuses_leaves_nothing(tmp_path: Path, server: str) -> None:
    to = tmp_path / "config"
    wrong = server.replace("@", "x@", 1)
    for uri, said in ((wrong, "refused"), ("mongodb://me:pass@127.0.0.1:1/?serverSelectionTimeoutMS=100", "reached")):
        words = ("config", "render", "--to", str(to), "--scheduler", "slurm")
        done = hemiec(tmp_path, *words, HEMIEC_MONGO_URI=uri)
        assert done.returncode == 1 and said in done.stderr and "Mend:" in done.stderr
        assert uri not in done.stderr + done.stdout and not to.exists()
    # A user that may read alone cannot be used.
    import pymongo

    with pymongo.MongoClient(server) as client:
        client["group"].command("createUser", "reader", pwd="read", roles=["read"])
    reader = server.split("@")[1].replace("admin", "group")
    done = hemiec(tmp_path, *words, "--database", "group", HEMIEC_MONGO_URI=f"mongodb://reader:read@{reader}")
    assert done.returncode == 1 and "readWrite" in done.stderr and not to.exists()


@pytest.mark.store
def test_without_a_server_loopback_is_for_one_node_alone(tmp_path: Path) -> None:
    words = ("config", "render", "--to", str(tmp_path / "config"), "--scheduler", "slurm")
    done = hemiec(tmp_path, *words)
    assert done.returncode == 2 and "compute nodes cannot reach" in done.stderr and "--embedded" in done.stderr
    try:
        done = hemiec(tmp_path, *words, "--embedded")
        assert done.returncode == 0, done.stderr
        # hemiec goes on starting and stopping it, so its settings do not name it as a server.
        assert "mongo_uri" not in (tmp_path / "config" / "hemiec.yaml").read_text()
        assert "mongodb://hemiec:" in (tmp_path / "config" / "my_launchpad.yaml").read_text()
    finally:
        hemiec(tmp_path, "db", "down")


REFUSED: list[tuple[list[str], str]] = [
    (["--scheduler", "slurm"], "--to is missing"),
    (["--to", "x"], "--scheduler or --site is missing"),
    (["--to", "x", "--scheduler", "slurm", "--mongo-uri", "mongodb://me:secret@host/"], "HEMIEC_MONGO_URI"),
    (["--to", "x", "--scheduler", "slurm", "--mongo-uri", "mongodb://me@host/"], "without a password"),
    (["--to", "x", "--scheduler", "slurm", "--mongo-uri", "host:27017"], "not one"),
    (["--to", "x", "--scheduler", "slurm", "--mongo-uri", "mongodb://host/", "--embedded"], "exclude each other"),
    (["--to", "x", "--site", "slurm-gpu"], "--account is missing"),
    (["--to", "x", "--site", "slrm"], "did you mean 'slurm'"),
    (["--to", "x", "--site", "mine.yaml"], "no such file"),
    (["--to", "x", "--site", "pbs", "--scheduler", "slurm"], "--scheduler says slurm"),
    (["--to", "x", "--scheduler", "slurm", "--walltime-mlip", "2-00:00:00"], "HH:MM:SS"),
    (["--to", "x", "--scheduler", "slurm", "--cores-dft", "2", "--workers-dft", "3"], "more than `cores: 2`"),
    (["--to", "x", "--scheduler", "slurm", "--partition-mlip", "a b"], "partition"),
    (["--to", "x", "--scheduler", "slurm", "--environment", "/"], "has no bin/hemiec"),
    (["--to", "x", "--scheduler", "slurm", "--database", "a b"], "--database 'a b'"),
    (["--to", "a folder", "--scheduler", "slurm", "--mongo-uri", "mongodb://h/", "--no-test"], "cannot take this path"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_bad_usage_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    from hemiec.cli.errors import run_guarded
    from hemiec.cli.main import cli

    for name in [name for name in os.environ if name.startswith("HEMIEC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(tmp_path / "none.yaml"))
    monkeypatch.chdir(tmp_path)
    code = run_guarded(lambda **more: cli.main(["config", "render", *words], **more), debug=False)
    error = capsys.readouterr().err
    assert code == 2 and said in error and "error: " in error and "secret" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_asked_for_what_is_missing(tmp_path: Path) -> None:
    """What is typed for the URI is not echoed."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [str(BIN / "hemiec"), "config", "render", "--site", "slurm-gpu", "--no-test"],
        env=environment(tmp_path, HOME=str(tmp_path), TERM="dumb"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        said = ""
        for question, answer in (("Folder", "~/mine"), ("Account", "ab12"), ("MongoDB URI", URI)):
            while question not in said:
                said += os.read(controller, 1000).decode()
            os.write(controller, f"{answer}\n".encode())
        while chunk := _read(controller):
            said += chunk
    os.close(controller)
    assert process.returncode == 0, said
    assert "s%40cret" not in said and "me:***@db.example.org" in said
    assert 'account: "ab12"' in (tmp_path / "mine" / "my_qadapter_gpu.yaml").read_text()


def _read(controller: int) -> str:
    try:
        return os.read(controller, 1000).decode()
    except OSError:  # the other end is closed
        return ""


def test_a_uri_from_a_file_or_the_standard_input(tmp_path: Path) -> None:
    secret = tmp_path / "uri"
    secret.write_text(f"\n{URI}\n")
    secret.chmod(0o644)
    words = ("config", "render", "--scheduler", "slurm", "--no-test", "--mongo-uri-file")
    done = hemiec(tmp_path, *words, str(secret), "--to", str(tmp_path / "a"))
    assert done.returncode == 0 and "other users can read it" in done.stderr
    assert f'mongo_uri: "{URI}"' in (tmp_path / "a" / "hemiec.yaml").read_text()
    secret.write_text("one\ntwo\n")
    assert hemiec(tmp_path, *words, str(secret), "--to", str(tmp_path / "b")).returncode == 2


def configuration(folder: Path, preset: str = "slurm", **more: Any) -> Configuration:
    site = make_site(site_content(preset) | {"account": "ab12"}, preset)
    settings = given_settings(Settings(data_dir=folder / "data")) | more
    return Configuration(site, SecretStr(URI), "group", folder / "config", folder / "venv", settings)


@pytest.mark.parametrize("preset", site_names())
def test_every_preset_gives_files_without_words_left(tmp_path: Path, preset: str) -> None:
    made = configuration(tmp_path, preset)
    files = render(made)
    assert {f"my_qadapter_{c}.yaml" for c in made.site.categories} == {n for n in files if "qadapter" in n}
    for name, text in files.items():
        for word in (
            "MONGO_URI:",
            "CONFIG_FOLDER",
            "ENVIRONMENT_FOLDER",
            "PARTITION",
            "CATEGORY",
            "WORKERS",
            "OPTIONS",
        ):
            assert word not in text, name
        if name.endswith(".yaml"):
            yaml.safe_load(text)
        if "qadapter" in name or "fworker" in name:
            assert "s%40cret" not in text
    assert "s%40cret" not in repr(made)
    write_private(made.folder, files)
    for category, allocation in made.site.categories.items():
        qadapter = Qadapter.read(made.folder / f"my_qadapter_{category}.yaml", category)
        assert (qadapter.walltime_s, qadapter.workers) == (seconds_of(allocation.walltime), allocation.jobs_at_a_time)
        assert f"exec hemiec work --category {category}" in qadapter.script(tmp_path)
    assert never_started(made.site) == []


def test_jobflow_remotes_project_has_the_sites_partitions(tmp_path: Path) -> None:
    made = configuration(tmp_path, "slurm-gpu", backend="jobflow-remote")
    files = render(made)
    project = yaml.safe_load(files["jobflow-remote/hemiec.yaml"])
    assert {n: w["resources"]["partition"] for n, w in project["workers"].items()} == {
        **{"mlip": "shared", "dft": "standard", "gpu": "gpu"}
    }
    assert project["base_dir"] == str(tmp_path / "config" / "jobflow-remote" / "hemiec")
    assert project["workers"]["gpu"]["batch"]["max_time"] == 36_000  # of 12 h
    assert "JFREMOTE_PROJECTS_FOLDER" in files["profile.sh"] and "backend: jobflow-remote" in files["hemiec.yaml"]
    write_private(made.folder, files)
    assert (
        mode(made.folder / "jobflow-remote") == 0o700 and mode(made.folder / "jobflow-remote" / "hemiec.yaml") == 0o600
    )
    assert "JFREMOTE" not in render(configuration(tmp_path, "slurm-gpu"))["profile.sh"]


def test_what_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    write_private(folder, {"a": "1", "b": "2"})
    write_private(folder, {"a": "1", "b": "2"})  # nothing differs
    (folder / "mine").write_text("own")
    with pytest.raises(InputError, match="a would be overwritten"):
        write_private(folder, {"a": "3", "b": "2"})
    write_private(folder, {"a": "3", "c": "4"}, force=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "3", "b": "2", "c": "4", "mine": "own"}


def test_if_one_file_cannot_be_written_all_stay_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    write_private(folder, {"a": "1"})
    (folder / "c").mkdir()  # a file cannot take the place of a folder
    with pytest.raises(OSError, match="directory"):
        write_private(folder, {"a": "2", "b": "2", "c": "2"}, force=True)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "c"]
    assert (folder / "a").read_text() == "1" and mode(folder / "a") == 0o600


def test_a_folder_that_others_use_is_not_closed_to_them(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    shared.chmod(0o755)
    write_private(shared, {"a": "1"})  # empty: it becomes private
    assert mode(shared) == 0o700
    shared.chmod(0o755)
    (shared / "theirs").touch()
    with pytest.raises(InputError, match="other users can open it"):
        write_private(shared, {"a": "1"})
    assert mode(shared) == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_private(tmp_path / "file", {"a": "1"})


PRESET: dict[str, Any] = {
    **{"name": "mine", "description": "ours", "scheduler": "slurm"},
    "categories": {"mlip": {"cores": 4, "memory_gib": 8, "walltime": "12:00:00"}},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shceduler": "slurm"}, "did you mean 'scheduler'"),
        ({"categories": {"mlp": {}}}, "did you mean 'mlip'"),
        ({"categories": {}}, "categories"),
        ({"categories": {"mlip": {"core": 4, "memory_gib": 8, "walltime": "12:00:00"}}}, "did you mean 'cores'"),
        ({"categories": {"mlip": {"cores": 4, "memory_gib": 8, "walltime": "1 day"}}}, "HH:MM:SS"),
        ({"categories": {"gpu": {"cores": 4, "memory_gib": 8, "walltime": "1:00:00"}}}, "at least 1"),
        ({"scheduler": "sge"}, "parallel_environment"),
        ({"scheduler": "lsf"}, "'slurm', 'pbs' or 'sge'"),
        ({"account": "a; rm -rf /"}, "account"),
        ({"setup": ["one\ntwo"]}, "commands of one line"),
        ({"setup": ["echo $$"]}, "commands of one line"),
    ],
)
def test_a_wrong_preset_names_the_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_site(PRESET | changes, "mine.yaml")


def test_a_users_preset_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PRESET).replace("'12:00:00'", "12:00:00"))  # YAML's seconds
    site = make_site(site_content(str(tmp_path / "mine.yaml")), "mine.yaml")
    assert site.categories["mlip"].walltime == "12:00:00" and site.categories["mlip"].jobs_at_a_time == 4
    site.categories["mlip"].walltime = "01:30:00"
    assert never_started(site) == ["mlip-7net-0 (120 min)", "mlip-7net-l3i5 (240 min)"]


@pytest.mark.parametrize(
    ("uri", "shown", "secret", "exposed", "here"),
    [
        ("mongodb://127.0.0.1:27017/", "mongodb://127.0.0.1:27017/", False, False, True),
        ("mongodb://me:pass@h/", "mongodb://me:***@h/", True, True, False),
        ("mongodb://me:pa@ss@h/", "mongodb://me:***@h/", True, True, False),
        ("mongodb://me:pass@h/?tls=true", "mongodb://me:***@h/?tls=true", True, False, False),
        ("mongodb+srv://me:pass@h/", "mongodb+srv://me:***@h/", True, False, False),
        ("mongodb+srv://h/?tls=false", "mongodb+srv://h/?tls=false", False, True, False),
        ("mongodb://localhost,h2/", "mongodb://localhost,h2/", False, True, False),
        ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=x&w=1",
         "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=***&w=1", True, False, False),
    ],
)  # fmt: skip
def test_what_a_uri_says_of_itself(uri: str, shown: str, secret: bool, exposed: bool, here: bool) -> None:
    assert (masked(uri), has_secret(uri), is_exposed(uri), only_here(uri)) == (shown, secret, exposed, here)


def test_bad_uris_are_refused_without_being_quoted() -> None:
    check_uri(URI, files=False)
    with pytest.raises(InputError, match=r"/etc/no-such-ca\.pem"):
        check_uri(URI)
    for uri in (
        "mongodb://me:pa/ss@h/",
        "mongodb://me:pa@ss@h/",
        "postgres://me:pass@h",
        'mongodb://h/"',
        "mongodb://",
    ):
        with pytest.raises(InputError) as caught:
            check_uri(uri)
        assert "ss@h" not in str(caught.value) and "pa" not in caught.value.message.split()
    with pytest.raises(InputError, match="unknown option 'tlss'"):
        check_uri("mongodb://h/?tlss=true")
    assert lacks_password("mongodb://me@h/") and not lacks_password("mongodb://me@h/?authMechanism=MONGODB-X509")


def test_a_failed_connection_is_a_store_error() -> None:
    from hemiec.launch.cluster.config import check_connection

    with pytest.raises(StoreError) as caught:
        check_connection(SecretStr("mongodb://me:pass@127.0.0.1:1/?serverSelectionTimeoutMS=50"), "x")
    assert isinstance(caught.value, HemiecError) and "pass" not in str(caught.value).split()
