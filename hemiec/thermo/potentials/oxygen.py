"""Oxygen deficiency in equilibrium with the gas, from the formation energies of the vacancies of a cell.

Every oxygen site i is vacant with the probability of a grand-canonical ensemble::

    theta_i = 1 / (1 + exp((E_i + a (delta - delta_0) + mu_O(T, p) + phi(delta)) / kT)),   delta = m <theta_i>

with E_i the formation energy of its vacancy and half an O2 molecule at 0 K, mu_O the chemical potential from the same
zero (:mod:`hemiec.thermo.potentials.gases`), and m oxygen sites per formula unit. That the spread of E_i decides how
much oxygen leaves a high-entropy perovskite was shown by Potter et al. (arXiv:2504.11587). A vacancy leaves two
electrons:

- *localised* on B ions, of which a share f is reduced (Fe+4 to Fe+3 in SrFeO3, Fe+3 to Fe+2 in LaFeO3). Their mixing
  entropy adds ``phi = 2 kT ln(f / (1 - f))``, which for one site energy is the law of mass action of defect chemistry.
- in a *band*: phi = 0, and filling it makes the next vacancy dearer by ``a = 4 / g(E_F)``, g in states per eV and
  formula unit (rigid band, doi:10.1006/jssc.1997.7531).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from hemiec.composition.candidate import exact_sites
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES, SITE_MULTIPLICITY
from hemiec.composition.fractions import VACANCY
from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.thermo import OxygenDoc
from hemiec.thermo.potentials.gases import AIR_PO2_BAR, oxygen_chemical_potential
from hemiec.thermo.potentials.redox import RedoxCouple, couple_range, redox_couple, valence_range
from hemiec.units import BOLTZMANN_EV_PER_K

Floats = NDArray[np.float64]
Electrons = Literal["localised", "band"]

#: Grids of the stored map.
TEMPERATURES_K = tuple(float(T) for T in range(300, 1601, 100))
LOG10_PO2_BAR = tuple(float(p) for p in range(-20, 1))
#: Firing temperature of most perovskites, at which the sample meets the air for the last time before it is cooled.
SYNTHESIS_K = 1273.0
ROOM_K = 298.15
#: Largest denominator of a deficiency that is proposed: one vacancy in a cell of 60 atoms.
_DENOMINATOR = 12
#: Deficiencies nearer than this are the same: half of that vacancy.
_SAME_DELTA = 0.5 / _DENOMINATOR
#: Shares of reduced ions smaller than this are rounding; candidates store six digits.
_ROUNDING = 1e-5
#: The root is sought in the logit of delta, as wide as a double's exponent reaches, to 1e-12.
_LOGIT, _HALVINGS = 700.0, 50


@dataclass(frozen=True)
class VacancyModel:
    """What the equilibrium is solved for.

    Parameters
    ----------
    site_energies
        Formation energy of a vacancy on every site and half an O2 at 0 K, in eV, at the deficiency ``computed``.
    sites
        Oxygen sites per formula unit, vacant ones as well.
    computed
        Vacancies per formula unit at which the energies were computed.
    couple
        Ions that the electrons are localised on; None for a band, or if nothing can be reduced.
    bounds
        Lowest and highest deficiency that sites and charge allow.
    interaction_eV
        How much dearer a vacancy becomes per vacancy in a formula unit, in eV; not negative.
    """

    site_energies: tuple[float, ...]
    sites: float
    computed: float
    couple: RedoxCouple | None
    bounds: tuple[float, float]
    interaction_eV: float = 0.0

    def delta(self, temperature_K: ArrayLike, pO2_bar: ArrayLike) -> Floats:
        """Return the vacancies per formula unit in equilibrium, in the shape that the arguments broadcast to.

        What the sites give falls with delta and delta rises, so there is one root, found by bisection.

        Raises
        ------
        ThermoError
            If a temperature is beyond the tables of O2, or a pressure is not positive.
        """
        mu = oxygen_chemical_potential(temperature_K, pO2_bar)
        kT = np.broadcast_to(BOLTZMANN_EV_PER_K * np.asarray(temperature_K, dtype=float), mu.shape)
        below, above = np.full(mu.shape, -_LOGIT), np.full(mu.shape, _LOGIT)
        for _ in range(_HALVINGS):
            middle = (below + above) / 2
            more = self._from_sites(middle, mu, kT) > self._delta(middle)
            below, above = np.where(more, middle, below), np.where(more, above, middle)
        return self._delta((below + above) / 2)

    def _delta(self, logit: Floats) -> Floats:
        lowest, highest = self.bounds
        return np.asarray(lowest + (highest - lowest) * expit(logit))

    def _from_sites(self, logit: Floats, mu: Floats, kT: Floats) -> Floats:
        """Return the vacancies per formula unit that the sites would hold at a deficiency."""
        drift = self.interaction_eV * (self._delta(logit) - self.computed)
        exponent = (mu + drift) / kT + 2 * self._log_reduced(logit)
        energies = np.asarray(self.site_energies)
        return np.asarray(self.sites * expit(-(energies / kT[..., None] + exponent[..., None])).mean(axis=-1))

    def _log_reduced(self, logit: Floats) -> Floats:
        """Return ln(f / (1 - f)), exact also where f is far below rounding of delta."""
        if self.couple is None:
            return np.zeros_like(logit)
        lowest, highest = self.bounds
        per_delta = 2 / self.couple.amount
        least = max(self.couple.reduced - per_delta * (self.computed - lowest), 0.0)
        most = min(self.couple.reduced + per_delta * (highest - self.computed), 1.0)
        least, rest = (0.0 if x < _ROUNDING else x for x in (least, 1 - most))
        span = per_delta * (highest - lowest)
        return np.asarray(np.log(least + span * expit(logit)) - np.log(rest + span * expit(-logit)))


def oxygen_doc(
    candidate: CandidateSpec,
    site_energies: Sequence[float],
    vacancy_energy: Quantity,
    *,
    electrons: Electrons = "localised",
    interaction_eV: float = 0.0,
    states: Mapping[str, Sequence[int]] = DEFAULT_OXIDATION_STATES,
) -> OxygenDoc:
    """Return the oxygen deficiency of a candidate over temperature and pressure, and what follows for its composition.

    Parameters
    ----------
    candidate
        The composition as its cells were computed, vacancies on X included.
    site_energies
        Energy of taking one more oxygen from each site as half an O2 molecule at 0 K, in eV, every correction of the
        protocol in it; of all cells, computed or predicted.
    vacancy_energy
        Their mean with its spread and provenance; its interval, if it has one, becomes that of ``delta_in_air``.
    electrons, interaction_eV
        See the module.
    states
        Species to the oxidation states that it may have, in e: B species with several take the electrons.

    Raises
    ------
    ThermoError
        If an energy is not finite, none is given, the candidate has no oxygen or no balanced charge, or the
        interaction is negative.
    """
    model = vacancy_model(candidate, site_energies, electrons=electrons, interaction_eV=interaction_eV, states=states)
    temperatures, logs = np.array(TEMPERATURES_K), np.array(LOG10_PO2_BAR)
    delta = model.delta(temperatures[:, None], 10 ** logs[None, :])
    in_air, in_room = model.delta(np.array([SYNTHESIS_K, ROOM_K]), AIR_PO2_BAR).tolist()
    interval = _interval(model, vacancy_energy)
    return OxygenDoc(
        vacancy_energy=vacancy_energy,
        site_energies=list(model.site_energies),
        temperatures_K=list(TEMPERATURES_K),
        log10_pO2_bar=list(LOG10_PO2_BAR),
        delta=delta.tolist(),
        mean_B_valence=(candidate.mean_B_valence - 2 * (delta - model.computed)).tolist(),
        delta_assumed=model.computed,
        delta_bounds=model.bounds,
        delta_in_air=in_air,
        delta_in_air_interval=interval,
        air_temperature_K=SYNTHESIS_K,
        delta_in_air_at_298_K=in_room,
        feedback=_feedback(candidate, model, in_air, in_room, interval),
        method=_method(model, electrons),
    )


def vacancy_model(
    candidate: CandidateSpec,
    site_energies: Sequence[float],
    *,
    electrons: Electrons = "localised",
    interaction_eV: float = 0.0,
    states: Mapping[str, Sequence[int]] = DEFAULT_OXIDATION_STATES,
) -> VacancyModel:
    """Return the model of a candidate; arguments and errors as those of :func:`oxygen_doc`."""
    energies = np.asarray(site_energies, dtype=float)
    if not energies.size or not np.isfinite(energies).all():
        raise ThermoError(
            f"{candidate.label}: expected a finite formation energy of a vacancy on every oxygen site, got "
            f"{energies.size} of which {int((~np.isfinite(energies)).sum())} are not finite.",
            mend="let the campaign compute oxygen hops: `hops: {mobile: O}`",
        )
    if interaction_eV < 0:
        raise ThermoError(
            f"vacancies that attract each other ({interaction_eV:g} eV) order or separate; expected 0 or more."
        )
    if not candidate.charge_balanced:
        raise ThermoError(
            f"{candidate.label}: the formal charges sum to {candidate.net_charge:+g} e, so its valences do not say how "
            "much oxygen it holds.",
            mend="state oxidation states that balance, under `oxidation_states`",
        )
    anions = exact_sites(candidate)["X"]
    sites = float(SITE_MULTIPLICITY["X"] * (anions.get("O", Fraction(0)) + anions.get(VACANCY, Fraction(0))))
    if not anions.get("O"):
        raise ThermoError(f"{candidate.label} holds no oxygen that could leave.")
    couple = redox_couple(candidate, states)
    range_ = valence_range(candidate, states) if electrons == "band" or couple is None else couple_range(couple)
    delta = candidate.oxygen_deficiency
    bounds = (max(0.0, delta - range_[0]), min(sites, delta + range_[1]))
    kept = None if electrons == "band" else couple
    return VacancyModel(tuple(energies.tolist()), sites, delta, kept, bounds, interaction_eV)


def _interval(model: VacancyModel, vacancy_energy: Quantity) -> tuple[float, float] | None:
    """Return the deficiency in air if all energies are off as the interval of their mean says."""
    if vacancy_energy.interval is None or vacancy_energy.value is None:
        return None
    ends = []
    for end in vacancy_energy.interval:
        shifted = tuple(energy + end - vacancy_energy.value for energy in model.site_energies)
        moved = VacancyModel(shifted, model.sites, model.computed, model.couple, model.bounds, model.interaction_eV)
        ends.append(float(moved.delta(SYNTHESIS_K, AIR_PO2_BAR)))
    return min(ends), max(ends)


def _feedback(
    candidate: CandidateSpec, model: VacancyModel, in_air: float, in_room: float, interval: tuple[float, float] | None
) -> str:
    """Return what the equilibrium says of the composition that was computed."""
    valence = candidate.mean_B_valence - 2 * (in_air - model.computed)
    low, high = interval or (in_air, in_air)
    error = "" if interval is None else f", {_written(low)} to {_written(high)} within the error of the energies"
    return (
        f"Computed with delta = {_written(model.computed)}. In air at {SYNTHESIS_K:.0f} K delta is {_written(in_air)} "
        f"(mean B valence {valence:+.2f}{error}); in equilibrium with air at 298 K it would be {_written(in_room)}. A "
        f"sample cooled faster than it takes up oxygen keeps a value between the two. {_advice(model, in_air)}"
    )


def _advice(model: VacancyModel, in_air: float) -> str:
    """Return what to compute next."""
    lowest, highest = model.bounds
    couple = None if model.couple is None else model.couple.name
    if couple and lowest == model.computed > 0 and in_air - lowest <= _SAME_DELTA:
        return (
            f"These vacancies reduce {couple}; whether the crystal takes up oxygen instead, they do not say. A cell "
            f"with fewer does: {_written_entry(model.computed / 2)}."
        )
    if abs(in_air - model.computed) <= _SAME_DELTA:
        return "The composition computed is that of the sample as it is made."
    if couple and highest < model.sites and highest - in_air <= _SAME_DELTA:
        half_way = _written_entry((in_air + model.computed) / 2)
        return (
            f"{couple} is all but used up there, and further oxygen costs more than these vacancies. They mostly get "
            f"dearer already while oxygen leaves, so compute it next half way: {half_way}."
        )
    return (
        f"To compute it as it is made, write {_written_entry(in_air)} in its entry under `space`; energies, gap and "
        f"barriers here are those of delta = {_written(model.computed)}."
    )


def _written_entry(delta: float) -> str:
    """Return a deficiency as a campaign states it."""
    return f"`oxygen_deficiency: {Fraction(delta).limit_denominator(_DENOMINATOR)}`"


def _written(delta: float) -> str:
    return f"{delta:.2f}" if delta >= 0.01 else "0" if delta == 0 else f"{delta:.0e}" if delta > 1e-6 else "below 1e-6"


def _method(model: VacancyModel, electrons: Electrons) -> str:
    """Return the model in words."""
    if model.couple is not None:
        taken = f"electrons localised on {model.couple.name}, ideal mixing"
    elif electrons == "band":
        taken = "electrons in a band"
    else:
        taken = "no B ion can be reduced: neutral vacancies"
    interaction = (
        f"vacancies interact with {model.interaction_eV:g} eV per vacancy and formula unit"
        if model.interaction_eV
        else "vacancies do not interact, so that far from the computed delta the change is an upper bound"
    )
    return (
        f"grand-canonical occupation of {len(model.site_energies)} site energies; {taken}; {interaction}; O2 from "
        f"NIST-JANAF; no vibrations of the solid; delta from {model.bounds[0]:.3g} to {model.bounds[1]:.3g}"
    )
