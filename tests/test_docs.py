"""The documentation: every page is in the menu, links lead somewhere, sources are listed, the reference is complete.

Nothing here needs the extra `docs`; `make docs` builds the site strictly.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml

from hemiec.cli.main import cli
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.definition import Criterion, LeaderboardDefinition, Ties
from hemiec.settings import Settings
from hemiec.store.layout.schema_files import STORED
from hemiec.workflows.campaign import load_campaign

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
SOURCE = re.compile(r"10\.\d{4,9}/[^\s,;)`|\]]*[^\s,;)`|.:\]]")
CODE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "tools" / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def site() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def entries(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list | dict):
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from entries(part)


def prose(path: Path) -> str:
    return CODE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as the site and repository hosts make them."""
    found = re.findall(r"^#+ (.*?)(?: \{#([a-z0-9-]+)\})?$", prose(path), re.MULTILINE)
    return {given or re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text, given in found}


def test_every_page_is_in_the_menu_once_and_nothing_else_is() -> None:
    listed = list(entries(site()["nav"]))
    made = set(tool("reference").PAGES)
    assert sorted(listed) == sorted({str(path.relative_to(DOCS)) for path in PAGES} | made)


def test_the_site_loads_nothing_from_elsewhere_by_its_settings() -> None:
    config = site()
    assert config["strict"] and config["theme"]["font"] is False
    assert not [path for path in config["extra_css"] if "//" in path]
    assert "extra_javascript" not in config and "repo_url" not in config


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_pages_and_headings(path: Path) -> None:
    made = set(tool("reference").PAGES)
    for target in LINK.findall(prose(path)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        if name and str(page.relative_to(DOCS)) in made:
            continue
        assert page.is_file(), f"{path.name}: {target}"
        assert not anchor or anchor in anchors(page), f"{path.name}: {target}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_into_the_documentation_lead_somewhere(name: str) -> None:
    for target in (t for t in LINK.findall((ROOT / name).read_text()) if t.startswith("docs/")):
        page, _, anchor = target.partition("#")
        assert (ROOT / page).is_file(), target
        assert not anchor or anchor in anchors(ROOT / page), target


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_files_that_pages_name_are_there(path: Path) -> None:
    # NAME and X stand for what the reader chooses.
    for name in re.findall(
        r"(?<![\w/.-])(?:hemiec|flows|analysis|benchmarks|tests|tools|db_config)/[\w./*-]+", path.read_text()
    ):
        assert re.search(r"NAME|_X\b", name) or any(ROOT.glob(name.rstrip("./"))), f"{path.name}: {name}"


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_pictures_are_there_and_described(path: Path) -> None:
    for described, target in IMAGE.findall(prose(path)):
        assert len(described) > 20 and (path.parent / target).is_file(), target


def test_every_source_is_in_the_bibliography() -> None:
    listed = set(SOURCE.findall((DOCS / "bibliography.md").read_text()))
    for path in PAGES:
        assert set(SOURCE.findall(path.read_text())) <= listed, path.name


def test_the_reference_has_every_command_and_option() -> None:
    page = tool("reference").command_page()

    def check(command: click.Command, name: str) -> None:
        assert f"\n## {name}\n" in page
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(option in section for option in parameter.opts), (name, parameter.opts)
        if isinstance(command, click.Group):
            for child in command.list_commands(click.Context(command)):
                check(command.get_command(click.Context(command), child), f"{name} {child}")  # type: ignore[arg-type]

    for child in cli.list_commands(click.Context(cli)):
        check(cli.get_command(click.Context(cli), child), f"hemiec {child}")  # type: ignore[arg-type]


def test_the_reference_has_every_key_and_field() -> None:
    reference = tool("reference")
    campaign, leaderboard = reference.campaign_page(), reference.leaderboard_page()
    assert all(f"| `{name}` |" in campaign for name in CampaignSpec.model_fields)
    for model in (LeaderboardDefinition, Criterion, Ties):
        assert all(f"| `{name}` |" in leaderboard for name in model.model_fields)
    assert all(f"| `HEMIEC_{name.upper()}` |" in reference.settings_page() for name in Settings.model_fields)
    documents = reference.documents_page()
    assert all(f"## {name} {{#" in documents for name in STORED)
    for page in (campaign, leaderboard, documents, reference.protocol_page()):
        for target in re.findall(r"\]\(#([a-z0-9-]+)\)", page):
            assert f"{{#{target}}}" in page
        assert not re.search(r"\|\s*\|$", page, re.MULTILINE), "a key without a meaning"


def test_settings_of_the_machine_that_builds_are_not_in_the_reference() -> None:
    page = tool("reference").settings_page()
    assert str(Path.home()) not in page


def test_a_page_that_loads_from_another_host_is_found() -> None:
    foreign = tool("checks").foreign
    assert foreign('<a href="https://doi.org/x">x</a><link rel="canonical" href="https://a/">', kind="html") == []
    assert foreign('<script src="https://a/x.js"></script>', kind="html") == ["https://a/x.js"]
    assert foreign('<img src="//a/x.png"><p style="background: url(http://a/y)">', kind="html") == [
        "//a/x.png",
        "http://a/y",
    ]
    assert foreign('<link rel="stylesheet" href="https://a/s.css"><img src="data:x">', kind="html") == [
        "https://a/s.css"
    ]
    assert foreign("@import 'https://a/s.css'; a {background: url(b.png)}", kind="css") == ["https://a/s.css"]


def test_sources_become_links_outside_code_and_links() -> None:
    linked = tool("links").linked
    assert linked("<p>(doi:10.1000/a.b).</p>") == '<p>(<a href="https://doi.org/10.1000/a.b">doi:10.1000/a.b</a>).</p>'
    assert linked("<p>arXiv:2504.11587, x</p>").startswith('<p><a href="https://arxiv.org/abs/2504.11587">arXiv:')
    for kept in (
        "<code>doi:10.1000/a</code>",
        '<a href="x">doi:10.1000/a</a>',
        "<pre><span>doi:10.1000/a</span></pre>",
    ):
        assert linked(kept) == kept


def test_names_of_files_in_links_become_titles() -> None:
    with_titles = tool("links").with_titles
    written = "see [stability.md](stability.md#temperature), [sqs.md](methods.md), [x](sqs.md), [sqs.md](sqs.md)"
    found = "see [Stability](stability.md#temperature), [sqs.md](methods.md), [x](sqs.md), "
    assert with_titles(written, "index.md", DOCS) == found + "[Special quasirandom structures](sqs.md)"


def test_text_in_tables_is_text() -> None:
    cell = tool("reference").cell
    assert cell("a < b | `x < y | z` * c") == r"a &lt; b \| `x < y \| z` \* c"


@pytest.mark.parametrize(
    "path",
    [path for path in [*PAGES, ROOT / "README.md"] if "\nspace:" in path.read_text()],
    ids=lambda path: path.name,
)
def test_campaigns_in_pages_can_be_run(path: Path, tmp_path: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        if "space:" in block:
            file = tmp_path / "campaign.yaml"
            file.write_text(block if re.search("^name:", block, re.MULTILINE) else f"name: page\n{block}")
            assert load_campaign(file).candidates


def written_commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of every `hemiec` command in the code blocks of a page; of blocks with prompts, after these."""
    blocks = re.findall(r"^ *```(?:bash|console|text)?\n(.*?)^ *```", path.read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        for part in (part for line in prompted or lines for part in re.split(r" && | \|\| | > | \| ", line)):
            if re.match(r"(\.venv/bin/)?hemiec [a-z]", part):
                # Remarks stand behind two spaces or more.
                yield shlex.split(re.split(r"\s{2,}", part)[0], comments=True)[1:]


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_commands_in_pages_are_commands(path: Path) -> None:
    for words in written_commands(path):
        command: click.Command = cli
        known = {"--help", "--debug"}
        for word in words:
            if isinstance(command, click.Group) and not word.startswith("-"):
                found = command.get_command(click.Context(command), word)
                assert found is not None, f"{path.name}: hemiec {' '.join(words)}"
                command = found
                known |= {
                    option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
                }
            elif word.startswith("--"):
                assert word.split("=")[0] in known, f"{path.name}: hemiec {' '.join(words)}: {word}"
