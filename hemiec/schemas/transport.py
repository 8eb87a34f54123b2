"""What is stored of ion transport: networks, computed sites and hops, and what governs conduction on them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hemiec.schemas.quantity import Document, Quantity


class NetworkDoc(Document):
    """The sites of a walker in a periodic cell and the hops between them; each stands here once and goes both ways."""

    lattice: list[list[float]] = Field(description="Cell vectors, rows, in angstrom.")
    frac_coords: list[list[float]] = Field(description="Fractional coordinates of the sites; unit 1.")
    atom_index: list[int] = Field(description="Index in the host of the ion on each site; -1 where it is vacant.")
    start: list[int] = Field(description="First site of each hop.")
    end: list[int] = Field(description="Second site of each hop.")
    image: list[list[int]] = Field(description="Periodic image of the second site, in lattice vectors.")
    environments: list[str] = Field(description="Species that each hop passes, such as 'La-Sr | Co'.")


class HopNetworkDoc(Document):
    """A relaxed cell with the network of its mobile species."""

    mobile: str = Field(description="Species that moves, such as O.")
    host: dict[str, Any] = Field(
        description="pymatgen Structure: relaxed cell that the walkers' vacancies are made in, sites labelled A, B, X."
    )
    network: NetworkDoc = Field(description="Its sites and hops.")
    tilt: str | None = Field(None, description="Octahedral tilts of the host in Glazer's notation; null if not named.")
    versions: dict[str, str] = Field(description="Version of hemiec.")


class SiteDoc(Document):
    """The walker's energy on one site: the relaxed vacancy."""

    site: int = Field(description="Its number in the network.")
    energy: float = Field(description="Energy of the cell with the vacancy there, in eV; the model's own zero.")
    structure: dict[str, Any] = Field(description="pymatgen Structure: relaxed, atoms in the host's order.")
    max_force: float = Field(description="Largest force on an atom, in eV/angstrom.")
    basin: str = Field(description="Which minimum it is: relaxed in place, or a lower one that a saddle led to.")
    tilt_change: float | None = Field(
        None,
        description="Largest coherent change of the host's octahedral tilts about an axis, in degrees; null if no "
        "tilts can be told.",
    )
    left_basin: bool = Field(False, description="Whether the tilts are another basin's than the host's.")
    n_force_calls: int = Field(description="Energy-and-force evaluations; unit 1; 0 where another sample spent them.")


class HopBarrierDoc(Document):
    """Minimum-energy path of one hop with forward and reverse barriers."""

    hop: int = Field(description="Its number in the network.")
    forward_barrier: float = Field(description="Saddle minus energy of the first site, in eV.")
    reverse_barrier: float = Field(description="Saddle minus energy of the second site, in eV.")
    initial_energy: float = Field(description="Energy with the vacancy on the first site, in eV per cell; own zero.")
    final_energy: float = Field(description="Energy with the vacancy on the second site, in eV per cell; own zero.")
    reaction_coordinate: list[float] = Field(description="Path length from the minimum before the saddle, in angstrom.")
    energies: list[float] = Field(
        description="Minimum, saddle, minimum of the path, relative to `initial_energy`, in eV. Where a site has a "
        "lower minimum than the one beside this saddle, the ends differ from the sites' energies."
    )
    max_force: float = Field(description="Largest force on an atom at the saddle, in eV/angstrom.")
    n_force_calls: int = Field(description="Energy-and-force evaluations, end points left out; unit 1.")
    elapsed_s: float = Field(description="Wall time in s.")
    method: str = Field(description="Which search found the saddle.")
    attempts: list[str] = Field(default_factory=list, description="What the searches before it ended in.")
    images: list[dict[str, Any]] | dict[str, Any] = Field(
        description="pymatgen Structures: minimum, saddle, minimum (kept in GridFS)."
    )


class FailedHop(Document):
    """A hop that was tried."""

    hop: int = Field(description="Its number in the network.")
    reason: str = Field(description="Why no saddle is known.")
    n_force_calls: int = Field(description="Energy-and-force evaluations spent, end points left out; unit 1.")


class FailedSite(Document):
    """A site whose vacancy did not stay there."""

    site: int = Field(description="Its number in the network.")
    reason: str = Field(description="Why its energy is not known.")
    n_force_calls: int = Field(description="Energy-and-force evaluations spent; unit 1.")


class SampleDoc(Document):
    """The sites and hops that one job computed."""

    sites: list[SiteDoc] = Field(description="Relaxed vacancies.")
    hops: list[HopBarrierDoc] = Field(description="Hops whose saddle was found.")
    failed_sites: list[FailedSite] = Field(description="Sites that did not hold the vacancy.")
    failed_hops: list[FailedHop] = Field(description="Hops whose saddle was not found.")
    stopped: str | None = Field(None, description="Why no hops were left to compute; null if some were.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the protocol's physics.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the engine and ASE.")


class HopSummary(Document):
    """A hop as a candidate shows it: environment, barriers, profile."""

    hop: int = Field(description="Its number in the network.")
    mobile: str = Field(description="Species that moves, such as O.")
    environment: str = Field(description="Species that it passes, as 'La-Sr | Co'.")
    forward_barrier: float | None = Field(description="Saddle minus initial energy, in eV; null if it failed.")
    reverse_barrier: float | None = Field(description="Saddle minus final energy, in eV; null if it failed.")
    reaction_coordinate: list[float] = Field(description="Path length from the initial state, in angstrom.")
    energies: list[float] = Field(description="Energy of each image relative to the initial site, in eV.")
    reason: str | None = Field(None, description="Why there is no barrier; null if there is one.")
    job_uuid: str = Field(description="jobflow job that computed it.")
    dft_forward_barrier: float | None = Field(
        None, description="The same by DFT single points at minima and saddle, in eV; null if not computed."
    )
    dft_reverse_barrier: float | None = Field(None, description="As dft_forward_barrier, of the reverse hop, in eV.")
    vacancy_formation_energies: list[float] = Field(
        default_factory=list,
        description="Of the initial and the final vacancy at fixed cell, against half an O2 molecule with the "
        "protocol's correction, in eV; empty if a job or O2 is missing, or another species moves.",
    )
    dft_vacancy_formation_energies: list[float] = Field(
        default_factory=list, description="The same by DFT at the same geometries, in eV; empty if not computed."
    )
    dft_protocol: str | None = Field(None, description="DFT protocol of these.")
    dft_protocol_hash: str | None = Field(None, description="Hash of its physics.")
    dft_reason: str | None = Field(None, description="Why they are missing though asked for; else null.")
    dft_job_uuid: str | None = Field(None, description="jobflow job of the DFT single points.")


class Band(Document):
    """A number at each of several temperatures, with its 90 % interval."""

    median: list[float | None] = Field(
        description="Median over draws, in the unit of the band; null where nothing moves."
    )
    low: list[float | None] = Field(description="5 % quantile, in the unit of the band.")
    high: list[float | None] = Field(description="95 % quantile, in the unit of the band.")


class TransportSummary(Document):
    """What governs the conduction of one ion in one cell, by the exact solution on the network of its hops."""

    mobile: str = Field(description="Species that moves, such as O.")
    charge: float = Field(description="Formal charge of the mobile ion, in e.")
    network: NetworkDoc = Field(description="Sites and hops.")
    site_energies: list[float] = Field(
        description="Energy of the walker on each site, computed or else predicted (mean), relative to their thermal "
        "mean at the reference temperature, in eV."
    )
    site_energy_std: list[float] = Field(description="Standard deviation of the prediction; 0 if computed, in eV.")
    site_computed: list[bool] = Field(description="Whether the energy was computed, not predicted.")
    saddle_energies: list[float] = Field(description="Energy at the saddle of each hop, as `site_energies`, in eV.")
    saddle_energy_std: list[float] = Field(description="Standard deviation of the prediction; 0 if computed, in eV.")
    hop_computed: list[bool] = Field(description="Whether the saddle was computed, not predicted.")
    hop_failures: dict[str, str] = Field(
        default_factory=dict, description="Number of a hop whose saddle was not found, to the reason."
    )
    site_failures: dict[str, str] = Field(
        default_factory=dict, description="Number of a site that did not hold its vacancy, to the reason."
    )
    occupation: list[float] = Field(description="Boltzmann probability of each site; unit 1.")
    hop_share: list[float] = Field(
        description="Share of each hop in the dissipated power, mean over draws: those that limit the current; unit 1."
    )
    reference_temperature_K: float = Field(description="Temperature of barriers, occupation and shares, in K.")
    effective_barrier: Quantity = Field(
        description="-d ln D / d(1/kT) of the dilute walker at the reference temperature, in eV."
    )
    effective_barriers_by_axis: list[float | None] = Field(
        description="The same along each Cartesian axis, median over draws, in eV; null where nothing percolates."
    )
    hop_barrier: Quantity = Field(description="Median barrier of the single hops computed, in eV.")
    temperatures_K: list[float] = Field(description="Temperatures of the bands, in K.")
    log10_diffusivity: Band = Field(description="log10 of the walker's D in cm^2/s.")
    log10_conductivity: Band | None = Field(
        None, description="log10 of the Nernst-Einstein conductivity in S/cm; null if the carriers are not known."
    )
    carriers_per_formula_unit: float | None = Field(
        None, description="Walkers per ABX3 unit behind the conductivity; unit 1; null if not known."
    )
    carriers_source: str = Field(description="Where the number of carriers comes from, or why there is none.")
    attempt_frequency_THz: float = Field(description="Prefactor of every rate, in THz.")
    percolates: list[bool] = Field(description="Whether the hops lead through the crystal along each cell vector.")
    bottlenecks: list[float | None] = Field(
        description="Lowest saddle that has to be passed to cross the crystal along each cell vector, above the lowest "
        "site, in eV; null where there is no way."
    )
    correlation_factor: float | None = Field(
        None, description="D over that of uncorrelated hops with the same rates, medians; unit 1; null if D is 0."
    )
    sites_in_use: float | None = Field(None, description="Fraction of sites that the current passes; unit 1.")
    hops_in_use: float | None = Field(None, description="Fraction of hops that carry the current; unit 1.")
    site_model_error: float | None = Field(
        None, description="Cross-validated root mean square error of predicted site energies, in eV."
    )
    saddle_model_error: float | None = Field(
        None, description="Cross-validated root mean square error of predicted saddle energies, in eV."
    )
    variance_share: dict[str, float] = Field(
        default_factory=dict,
        description="Parts of the variance of the effective barrier in the first cell: `sites` and `saddles` not "
        "computed, and the `model`, that is how far features are to be trusted; unit 1; empty without a barrier.",
    )
    n_hops: int = Field(description="Distinct hops in the cell; unit 1.")
    n_computed: int = Field(description="Of them computed; unit 1.")
    n_failed: int = Field(description="Of them tried without finding a saddle; unit 1.")
    n_force_calls: int = Field(description="Energy-and-force evaluations of all sites and hops; unit 1.")
    stopped: str = Field(description="Why no more hops were computed.")
    notes: list[str] = Field(default_factory=list, description="What a reader should know.")
    method: str = Field(description="How energies, predictions and diffusion were computed.")
    protocol: str = Field(description="Protocol name.")
    protocol_hash: str = Field(description="Hash of the protocol's physics.")
    versions: dict[str, str] = Field(description="Versions of hemiec, the engine and ASE.")
