"""Jobs of ion transport: the network of a cell, its hops in samples that build on one another, and what governs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from jobflow import CURRENT_JOB, Maker, job
from monty.json import jsanitize
from pymatgen.core import Structure

from hemiec import __version__
from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.fractions import VACANCY
from hemiec.engines.mlip.potential import hop_calculator, versions
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_mlip
from hemiec.engines.relaunch import earlier_launches
from hemiec.errors import NotConvergedError, StructureError
from hemiec.files import write_whole
from hemiec.schemas.documents import CandidateSpec, SqsDoc
from hemiec.schemas.transport import (
    FailedHop,
    FailedSite,
    HopBarrierDoc,
    HopNetworkDoc,
    SampleDoc,
    SiteDoc,
)
from hemiec.structures.basins import left_basin
from hemiec.structures.sqs import vacant_sites
from hemiec.transport.energies import HopCalculation, HopRecord, SiteRecord
from hemiec.transport.hops import hop_environments, label_sites, perovskite_network
from hemiec.transport.summary import Carriers, Origin, summarise
from hemiec.transport.survey import Aim, Survey, network_doc

#: What a sample has computed so far: a job that was killed goes on with it.
RECORDS_FILE = "hops.json"


@dataclass
class NetworkMaker(Maker):
    """Find the sites and hops of a mobile species in a relaxed cell.

    Parameters
    ----------
    name
        Job name.
    mobile
        Species that moves.
    """

    name: str = "hop network"
    mobile: str = "O"

    @job
    def make(self, structure: Structure, sqs: dict[str, Any]) -> dict[str, Any]:
        """Return a HopNetworkDoc for a relaxed structure and the SqsDoc that it came from."""
        doc = SqsDoc.model_validate(plain(sqs))
        ideal = Structure.from_dict(doc.ideal_structure)
        host = label_sites(structure, ideal)
        vacant = vacant_sites(doc).get(_sublattice(doc.candidate, self.mobile)[0])
        network = perovskite_network(host, self.mobile, ideal=ideal, vacant=vacant)
        return HopNetworkDoc(
            mobile=self.mobile,
            host=host.as_dict(),
            network=network_doc(network, hop_environments(host, network)),
            versions={"hemiec": __version__},
        ).to_mongo()


@dataclass
class SampleMaker(Maker):
    """Compute the hops of a network that say most about its effective barrier.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    settings
        ``n`` hops at most, and the fields of :class:`hemiec.transport.survey.Aim`, in plain types as jobs are stored.
    """

    name: str = "sample hops"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    settings: dict[str, Any] = field(default_factory=dict)

    @job(data=["images"])
    def make(self, network: dict[str, Any], earlier: list[dict[str, Any] | None]) -> dict[str, Any]:
        """Return a SampleDoc for a HopNetworkDoc and the SampleDocs so far, None for those that failed.

        Every site and hop is written to the job's folder as it is found; a job that was killed goes on from there.

        Raises
        ------
        NotConvergedError
            If hops were tried and no saddle was found at all.
        """
        protocol = load_mlip(self.protocol)
        samples = [SampleDoc.model_validate(sample) for sample in plain(earlier) if sample]
        aim = Aim(**{key: value for key, value in self.settings.items() if key != "n"})
        survey = Survey(HopNetworkDoc.model_validate(plain(network)), samples, aim)
        records = _Records(Path.cwd(), CURRENT_JOB.job.uuid if CURRENT_JOB.job else None)
        stopped = None if records.chosen else survey.why_enough()
        if stopped is None and not records.chosen:
            records.choose(survey.choose(self.settings["n"]))
            if not records.chosen:
                stopped = "every hop that can be computed is"
        if stopped is None:
            _compute(survey, records, protocol)
        found = records.document(survey, protocol, stopped)
        if records.chosen and not found.hops and not any(sample.hops for sample in samples):
            raise NotConvergedError(
                f"no saddle was found for any of {len(found.failed_hops)} hops; the first: "
                f"{found.failed_hops[0].reason}",
                mend="look at the relaxed cell, or name another barrier protocol",
            )
        return found.to_mongo()


@dataclass
class TransportMaker(Maker):
    """Gather the samples of a candidate's cells into what governs its conduction.

    Parameters
    ----------
    name
        Job name.
    protocol
        The MLIP protocol of the samples.
    settings
        ``temperatures_K``, ``carriers`` (per formula unit; None for those of the composition), and the fields of
        :class:`hemiec.transport.survey.Aim`.
    """

    name: str = "ion transport"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    settings: dict[str, Any] = field(default_factory=dict)

    @job
    def make(
        self,
        candidate: dict[str, Any],
        networks: list[dict[str, Any] | None],
        samples: list[list[dict[str, Any] | None]],
    ) -> dict[str, Any]:
        """Return a TransportSummary.

        Parameters
        ----------
        candidate
            CandidateSpec.
        networks
            HopNetworkDoc of every structure, None if its jobs failed.
        samples
            SampleDocs of every structure, None for those that failed.

        Raises
        ------
        NotConvergedError
            If no structure has a sample.
        """
        protocol, settings = load_mlip(self.protocol), dict(self.settings)
        temperatures, carriers = settings.pop("temperatures_K"), settings.pop("carriers")
        spec, aim = CandidateSpec.model_validate(candidate), Aim(**settings)
        surveys = [
            Survey(HopNetworkDoc.model_validate(network), [SampleDoc.model_validate(s) for s in found if s], aim)
            for network, found in zip(plain(networks), plain(samples), strict=True)
            if network and any(found)
        ]
        if not surveys:
            raise NotConvergedError(f"{spec.label}: no job has computed hops.", mend="see `hemiec errors`")
        stopped = surveys[0].why_enough() or "as many hops as the campaign allows were tried"
        last = [sample.stopped for sample in surveys[0].samples if sample.stopped]
        origin = Origin(
            model=f"{protocol.model.force_field} ({protocol.name})",
            protocol=protocol.name,
            protocol_hash=protocol.hash_of("saddle"),
            versions=versions(protocol),
        )
        summary = summarise(
            surveys,
            temperatures,
            _carriers(spec, surveys[0].cell.mobile, carriers),
            origin,
            stopped=last[0] if last else stopped,
        )
        return summary.to_mongo()


def plain(document: Any) -> Any:
    """Return a stored document as it was stored: references bring its structures as objects."""
    return jsanitize(document, strict=True)


class _Records:
    """What a sample has chosen and computed, kept in its folder as it grows."""

    def __init__(self, folder: Path, uuid: str | None) -> None:
        self.folder, self.uuid = folder, uuid
        self.chosen: list[int] = []
        self.sites: list[SiteRecord] = []
        self.hops: list[HopRecord] = []
        for left in (folder, *(launch for launch, _ in earlier_launches(folder))):
            if self._read(left / RECORDS_FILE):
                break

    def choose(self, hops: list[int]) -> None:
        """Fix which hops are computed."""
        self.chosen = hops
        self._write()

    def keep(self, calculation: HopCalculation) -> None:
        """Keep what has been computed so far."""
        self.sites = calculation.sites
        self.hops = [hop for hop in calculation.hops if hop.hop in self.chosen]
        self._write()

    def document(self, survey: Survey, protocol: MlipProtocol, stopped: str | None) -> SampleDoc:
        """Return what this sample adds to those before."""
        before: dict[int, float] = {}
        for sample in survey.samples:
            for site in sample.sites:
                before[site.site] = min(site.energy, before.get(site.site, site.energy))
        new = [s for s in self.sites if s.energy is None or s.site not in before or s.energy < before[s.site]]
        return SampleDoc(
            sites=[_site_doc(site, survey.host) for site in new if site.converged],
            hops=[_hop_doc(hop) for hop in self.hops if hop.converged],
            failed_sites=[
                FailedSite(site=site.site, reason=site.reason or "", n_force_calls=site.n_force_calls)
                for site in new
                if not site.converged
            ],
            failed_hops=[
                FailedHop(hop=hop.hop, reason=hop.reason or "", n_force_calls=hop.n_force_calls)
                for hop in self.hops
                if not hop.converged
            ],
            stopped=stopped,
            protocol=protocol.name,
            protocol_hash=protocol.hash_of("saddle"),
            versions=versions(protocol),
        )

    def _read(self, path: Path) -> bool:
        """Take over what a launch of this very job left; return whether there was something."""
        try:
            left = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if self.uuid is None or left["job"] != self.uuid:
            return False
        self.chosen = left["chosen"]
        self.sites = [SiteRecord.from_dict(site) for site in left["sites"]]
        self.hops = [HopRecord.from_dict(hop) for hop in left["hops"]]
        return True

    def _write(self) -> None:
        content = {
            "job": self.uuid,
            "chosen": self.chosen,
            "sites": [site.to_dict() for site in self.sites],
            "hops": [hop.to_dict() for hop in self.hops],
        }
        write_whole(self.folder / RECORDS_FILE, json.dumps(content))


def _compute(survey: Survey, records: _Records, protocol: MlipProtocol) -> None:
    """Compute the chosen hops that are not in the records yet, keeping each as it is found."""
    known = {site.site: site for sample in survey.samples for site in sample.sites}
    for sample in survey.samples:  # of several minima of a site the lowest
        for site in sample.sites:
            known[site.site] = min(known[site.site], site, key=lambda found: found.energy)
    earlier = {site: _site_record(doc) for site, doc in known.items()} | {site.site: site for site in records.sites}
    calculation = HopCalculation(
        survey.host,
        survey.network,
        hop_calculator(protocol),
        protocol.saddle.search,
        known_sites=earlier.values(),
        known_hops=records.hops,
    )
    for hop in records.chosen:
        calculation.hop(hop)
        records.keep(calculation)
    for hop in calculation.outdated():  # a later hop found a lower minimum of one of their sites
        calculation.hop(hop, again=True)
        records.keep(calculation)


def _site_record(doc: SiteDoc) -> SiteRecord:
    """Return a site of an earlier sample; what it cost is counted there."""
    structure = Structure.from_dict(doc.structure)
    return SiteRecord(
        site=doc.site,
        energy=doc.energy,
        structure=structure,
        max_force=doc.max_force,
        basin=doc.basin,
        n_force_calls=0,
        elapsed_s=0.0,
        seconds_in_calls=0.0,
    )


def _site_doc(site: SiteRecord, host: Structure) -> SiteDoc:
    assert site.energy is not None and site.structure is not None and site.max_force is not None
    try:
        change = left_basin(host, site.structure)
        tilts = {"tilt_change": float(change.change.max()), "left_basin": change.left}
    except StructureError:  # a framework that has come apart has no tilts to compare
        tilts = {}
    return SiteDoc(
        **tilts,
        site=site.site,
        energy=site.energy,
        structure=site.structure.as_dict(),
        max_force=site.max_force,
        basin=site.basin,
        n_force_calls=site.n_force_calls,
    )


def _hop_doc(hop: HopRecord) -> HopBarrierDoc:
    """Return a hop with the three images of its path that count: minimum, saddle, minimum."""
    top = hop.energies.index(max(hop.energies))
    of_path = [0, top, len(hop.energies) - 1]
    return HopBarrierDoc.model_validate(
        {
            "hop": hop.hop,
            "forward_barrier": hop.forward_barrier,
            "reverse_barrier": hop.reverse_barrier,
            "initial_energy": hop.start_energy,
            "final_energy": hop.end_energy,
            "reaction_coordinate": [hop.reaction_coordinate[n] for n in of_path],
            "energies": [hop.energies[n] for n in of_path],
            "max_force": hop.max_force,
            "n_force_calls": hop.n_force_calls,
            "elapsed_s": hop.elapsed_s,
            "method": hop.method,
            "attempts": hop.attempts,
            "images": [hop.images[n].as_dict() for n in of_path],
        }
    )


def mobile_sites(candidate: CandidateSpec, mobile: str) -> float:
    """Return the sites of a mobile species per formula unit, those included that the composition leaves vacant."""
    sublattice, species = _sublattice(candidate, mobile)
    filled = sum(Fraction(species.get(s, "0")) for s in (mobile, VACANCY))
    return SITE_MULTIPLICITY[sublattice] * float(filled)


def _carriers(candidate: CandidateSpec, mobile: str, given: float | None) -> Carriers:
    """Return how many vacancies move: those given, else those of the composition on the mobile ion's sublattice."""
    sublattice, species = _sublattice(candidate, mobile)
    written = SITE_MULTIPLICITY[sublattice] * float(Fraction(species.get(VACANCY, "0")))
    if given is not None:
        number, source = given, "`hops.carriers` of the campaign"
    elif written:
        number, source = written, f"vacancies on {sublattice} in the composition"
    else:
        number = None
        source = (
            f"not known: the composition has no vacancies on {sublattice}, and how many form is not computed; give "
            "`hops: {carriers: ...}`"
        )
    return Carriers(number, mobile_sites(candidate, mobile), candidate.oxidation_states[mobile], source)


def _sublattice(candidate: CandidateSpec, mobile: str) -> tuple[str, dict[str, str]]:
    """Return name and species of the sublattice that a species is on."""
    return next((site, species) for site, species in candidate.sites.items() if mobile in species)
