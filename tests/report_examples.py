"""A synthetic leaderboard with everything that the report shows, and a reader of its pages. All numbers are made up."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files

from plotly.offline import get_plotlyjs
from pymatgen.core import Lattice, Structure

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.report.background import Background
from hemiec.schemas.documents import JobRecord
from hemiec.schemas.leaderboard import Doubt, LeaderboardDoc, LeaderboardEntry, RankUncertainty, WeightRange
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.stored import StructureDoc
from hemiec.schemas.transport import HopSummary

HOSTILE = "</script><script>alert(1)</script>"
DANGEROUS = f'"><img src=x onerror=alert(1)>{HOSTILE}<!-- $x$ {{{{ 7*7 }}}} {{% raw %}}'
VIEWER = files("hemiec").joinpath("web/site/assets/vendor/3Dmol-min.js")


def hop(environment: str, forward: float | None, change: float = 0.1) -> HopSummary:
    """Return a synthetic hop over 2.8 angstrom, or one that failed if forward is None."""
    if forward is None:
        return HopSummary(
            mobile="O", hop=0, environment=environment, forward_barrier=None, reverse_barrier=None,
            reaction_coordinate=[], energies=[],
            reason="NEB did not converge in 300 steps", job_uuid="uuid-of-a-failed-hop",
        )  # fmt: skip
    shape = [0.0, 0.3, 0.75, 1.0, 0.75, 0.3, 0.0]
    energies = [forward * s + change * i / 6 for i, s in enumerate(shape)]
    top = max(energies)
    return HopSummary(
        mobile="O", hop=0, environment=environment, forward_barrier=top, reverse_barrier=top - energies[-1],
        reaction_coordinate=[2.8 * i / 6 for i in range(7)], energies=energies, job_uuid=f"uuid-hop-{environment}",
    )  # fmt: skip


def known(value: float, unit: str, method: str = "synthetic method", **more: object) -> Quantity:
    return Quantity.model_validate(
        {"value": value, "unit": unit, "method": method, "n": 1, "protocol": "synthetic", "protocol_hash": "p-1",
         "job_uuids": ["uuid-1"], **more}
    )  # fmt: skip


def missing(unit: str, reason: str) -> Quantity:
    return Quantity(value=None, unit=unit, method="synthetic method", reason=reason)


def entry(position: int | None, label: str, shift: float = 0.0, **changes: object) -> LeaderboardEntry:
    """Return a synthetic entry whose quantities are spread by ``shift``."""
    fields: dict[str, object] = {
        "rank": position, "candidate_id": f"hm-{position or 0:012d}", "formula": "La0.2Y0.2Sr0.2Ba0.2Ca0.2CoO3",
        "label": label, "score": None if position is None else 0.9 - shift / 2,
        "pareto_layer": None if position is None else 1 + (position > 2),
        "band_gap": known(0.3 + shift, "eV", "GPAW, PBE+U (synthetic)"),
        "migration_barrier": known(0.6 + shift**2 / 2, "eV", "median of 5 hops (synthetic)", n=5,
                                   std=0.1, min=0.4 + shift / 4, max=0.9 + shift / 2),
        "formation_energy_per_atom": known(-2.4 + shift / 3, "eV/atom", "MLIP (synthetic)"),
        "formation_enthalpy_from_oxides_per_atom": known(-0.05 + shift / 9, "eV/atom", "MLIP (synthetic)"),
        "oxide_reaction": "0.1 La2O3 + 0.1 Y2O3 + ... -> LaCoO3", "mean_B_valence": 3.4, "tolerance_factor": 0.987,
        "bartel_tau": 3.91, "configurational_entropy": 1.61, "n_atoms": 80, "shortest_image_distance": 10.9,
        "warren_cowley_rms": 0.012, "icet_l1": 0.34,
        "hops": [hop("La-Sr | Co", 0.6), hop("Sr-Ba | Co", 0.5, -0.2), hop("Y-Ca | Co", 0.75, 0.15),
                 hop("La-Ba | Co", 0.45, -0.1), hop("Y-Y | Co", 0.8, 0.05)],
    }  # fmt: skip
    return LeaderboardEntry.model_validate({**fields, **changes})


def six_candidates() -> LeaderboardDoc:
    """Return six synthetic candidates without draws: one misses its barrier, one has a failed hop."""
    failed = [hop("La-Sr | Co", 0.6), hop("Sr-Sr | Co", None), hop("Y-Ca | Co", 0.7)]
    entries = [
        entry(1, "(La,Y,Sr,Ba,Ca)CoO3"),
        entry(2, "(La,Pr,Nd,Sr,Ba)CoO3", 0.25),
        entry(3, "(La,Sr)(Co,Fe)O3", 0.5, hops=failed),
        entry(4, "(Gd,Sm,Nd,Sr,Ba)(Co,Fe)O3", 0.8),
        entry(5, "(La,Y,Pr,Sr,Ca)MnO3", 1.4),
        entry(None, "Ba0.5Sr0.5CoO3", 0.6, migration_barrier=missing("eV", "3 of 5 hops failed"), hops=[]),
    ]
    return LeaderboardDoc(
        name="mixed-conductor", title=DEFAULT.title, description=DEFAULT.description, campaign="synthetic",
        criteria=DEFAULT.criteria, created_at=datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
        versions={"hemiec": "0.0.0"}, entries=entries,
    )  # fmt: skip


def with_draws(doc: LeaderboardDoc) -> LeaderboardDoc:
    """Return the leaderboard as draws and weights would have it, with a doubt of the first."""
    changed = []
    for found in doc.entries:
        place = float(found.rank or 1)
        drawn = RankUncertainty(
            expected_rank=place + 0.25, rank_interval=(max(1.0, place - 1), place + 1), score_interval=(0.4, 0.9),
            probability_top=1 / place, probability_pareto=0.002 if place == 5 else 0.8,
        )  # fmt: skip
        changed.append(found.model_copy(update={"uncertainty": None if found.rank is None else drawn}))
    doubt = Doubt(code="one-magnetic-start", property="band_gap", text="The gap is of one magnetic start.")
    changed[0] = changed[0].model_copy(update={"doubts": [doubt]})
    ids = [found.candidate_id for found in doc.entries]
    ranges = [
        WeightRange(property="band_gap", weight=1, low=0.4, high=2.5, winner_below=ids[1], winner_above=ids[2]),
        WeightRange(property="migration_barrier", weight=1, low=0, high=None),
    ]
    more = {"entries": changed, "sensitivity": ranges, "draws": 1000, "top": 2, "seed": 7}
    return doc.model_copy(update=more)


def background(*, members: int = 2, relaxed: bool = True) -> Background:
    """Return what a store would know: (La,Sr)(Co,Fe)O3 in a doubled cell, with jobs; one of them failed."""
    spec = make_candidate(
        {"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": "1/2", "Fe": "1/2"}, "X": {"O": 1}}, DEFAULT_OXIDATION_STATES
    )
    jobs = [
        JobRecord(uuid="uuid-sqs", step="sqs", name="sqs", state="completed", completed_at="2030-01-02T03:04:05.678"),
        JobRecord(uuid="uuid-gap", step="gap", name="gap", state="failed", protocol="gpaw-x", protocol_hash="p-9",
                  message="no SCF solution"),
    ]  # fmt: skip
    return Background(
        spec=spec, structures=[structure(member, relaxed=relaxed) for member in range(members)], jobs=jobs,
        campaigns=["synthetic"], versions={"hemiec": "0.0.0"},
    )  # fmt: skip


def structure(member: int = 0, *, relaxed: bool = True, notes: tuple[str, ...] = ()) -> StructureDoc:
    """Return a rock-salt ordered cell of ten atoms; with vacant corners nowhere."""
    cubic = Structure(
        Lattice.cubic(3.9), ["La", "Co", "O", "O", "O"],
        [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
    )  # fmt: skip
    supercell = [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    ideal = cubic.make_supercell(supercell)
    seen = {"La": 0, "Co": 0}
    for index, site in enumerate(ideal):
        symbol = site.specie.symbol
        if symbol in seen:
            seen[symbol] += 1
            if seen[symbol] == 2:
                ideal.replace(index, {"La": "Sr", "Co": "Fe"}[symbol])
    moved = ideal.copy()
    moved.translate_sites(range(len(moved)), [0.01, 0.02, 0.03])
    return StructureDoc(
        structure_id=f"hm-1:plan:{member}", candidate_id="hm-1", plan_id="plan", label="(La,Sr)(Co,Fe)O3",
        member=member, formula_pretty="LaSrCoFeO6", formula_anonymous="ABCDE6", chemsys="Co-Fe-La-O-Sr",
        elements=["Co", "Fe", "La", "O", "Sr"], nelements=5, nsites=10, ideal_structure=ideal.as_dict(),
        structure=moved.as_dict() if relaxed else None, volume=118.6, density=5.9, energy_per_atom=-7.123,
        max_force=0.021, tilt="a-a-c+", supercell=supercell, shortest_image_distance=3.9, net_charge=0.0,
        rounding=0.0125, warren_cowley_rms=0.31, icet_l1=0.9, seed=11, notes=list(notes), sqs_job_uuid="uuid-sqs",
        relax_job_uuid="uuid-relax" if relaxed else None, protocol="mlip-x", protocol_hash="p-2",
        versions={"hemiec": "0.0.0"}, input_hash="0", last_updated=datetime(2030, 1, 2, tzinfo=UTC),
    )  # fmt: skip


def outside_the_library(page: str) -> str:
    """Return the page without plotly.js and 3Dmol, which name hosts that this page never asks."""
    library, viewer = get_plotlyjs(), VIEWER.read_text(encoding="utf-8")
    assert page.count(library) == 1
    assert page.count(viewer) <= 1
    return page.replace(library, "").replace(viewer, "")


class Tags(HTMLParser):
    """The start tags and the visible text of a page, as a browser's parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)
