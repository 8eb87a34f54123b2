"""Correction of a cheap tier towards a dear one: the statistics, their use on numbers, the store and the command.

All values are synthetic, except those of the shipped sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hemiec.cli.main import cli
from hemiec.engines.protocol import load_dft, load_mlip
from hemiec.errors import InputError
from hemiec.ranking.calibration.fit import (
    calibrated,
    calibrated_result,
    fit_calibrations,
    leave_one_group_out,
    open_shell_fraction,
    predict,
)
from hemiec.ranking.calibration.regression import fit_line
from hemiec.ranking.calibration.shipped import read_set, shipped_calibrations, shipped_sets
from hemiec.schemas.calibration import CalibrationDoc, CalibrationPoint, CalibrationSet
from hemiec.schemas.documents import CandidateDoc, CandidateResult, CandidateSpec
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary
from hemiec.settings import Settings
from hemiec.store.calibration import collect_points, current_calibrations, points_of, save_calibration
from hemiec.store.candidates import composition_of, documents_of
from hemiec.store.database import Database, open_database

Make = Callable[..., CandidateSpec]
NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)


def point(low: float, high: float, group: str, fraction: float = 0.0, **more: Any) -> CalibrationPoint:
    fields = {
        "property": "migration_barrier", "low": low, "high": high, "unit": "eV", "group": group, "label": group,
        "open_shell_fraction": fraction, "low_protocol": "mlip-x", "low_protocol_hash": "low-1",
        "high_protocol": "dft-x", "high_protocol_hash": "high-1", "source": "synthetic",
    }  # fmt: skip
    return CalibrationPoint.model_validate({**fields, **more})


def cells(
    rng: np.random.Generator, n: int, *, icc: float, sd: float = 0.12, ratio: float = 2.0, per_cell: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return low, high, class and cell of points about ``0.1 + 1.2 low + c (0.2 + 0.2 low)``, c = -1/2 or 1/2."""
    fraction = rng.integers(0, 2, n).repeat(per_cell).astype(float)
    groups = [f"cell-{i}" for i in range(n) for _ in range(per_cell)]
    low = rng.normal(0.7, 0.3, n).repeat(per_cell) + rng.normal(0, 0.15, n * per_cell)
    shared, own = rng.normal(size=n).repeat(per_cell), rng.normal(size=n * per_cell)
    residual = sd * ratio ** (fraction - 0.5) * (np.sqrt(icc) * shared + np.sqrt(1 - icc) * own)
    return low, 0.1 + 1.2 * low + (fraction - 0.5) * (0.2 + 0.2 * low) + residual, fraction, groups


def synthetic_points(n: int = 10, seed: int = 0, **more: Any) -> list[CalibrationPoint]:
    low, high, fraction, groups = cells(np.random.default_rng(seed), n, icc=0.5, sd=0.05)
    return [point(*row, **more) for row in zip(low, high, groups, fraction, strict=True)]


def barrier(value: float | None = 0.6, **more: Any) -> Quantity:
    fields: dict[str, Any] = {
        "value": value, "unit": "eV", "method": "median of hops (synthetic)", "n": 4, "std": 0.1,
        "min": 0.45, "max": 0.8, "protocol": "mlip-x", "protocol_hash": "low-1",
        "reason": None if value is not None else "failed",
    }  # fmt: skip
    return Quantity.model_validate({**fields, **more})


# The line


def test_an_exact_line_is_found_and_predicted() -> None:
    low = np.array([0.2, 0.4, 0.5, 0.8, 0.9, 1.2, 0.3, 1.0])
    line = fit_line(low, 0.15 + 1.3 * low, np.array([0.0, 1.0] * 4), [str(i // 2) for i in range(8)])
    for fraction in (0.0, 0.5, 1.0):
        assert line.slope(fraction).mean == pytest.approx(1.3, abs=0.01)
        assert line.offset(fraction).mean == pytest.approx(0.15 + 0.3 * line.center, abs=0.003)
        found = line.predict(0.6, fraction)
        assert found.value == pytest.approx(0.15 + 1.3 * 0.6, abs=0.003)
        assert found.low < found.value < found.high
        assert found.high - found.low < 0.05


def test_equal_tiers_stay_as_they_are() -> None:
    low = np.linspace(0.2, 1.2, 8)
    line = fit_line(low, low, np.zeros(8), [str(i) for i in range(8)])
    assert line.predict(0.5, 0.0).value == pytest.approx(0.5, abs=1e-4)
    assert line.slope(0.0).mean == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("icc", [0.2, 0.8])
@pytest.mark.parametrize("n_cells", [6, 12])
def test_intervals_of_new_cells_cover_what_they_say(icc: float, n_cells: int) -> None:
    """90 % intervals hold 85 to 95 % of values in cells that were not fitted, over many data sets with known truth."""
    rng = np.random.default_rng(round(100 * icc) + n_cells)
    inside = []
    for _ in range(60):
        line = fit_line(*cells(rng, n_cells, icc=icc))
        low, high, fraction, _ = cells(rng, 6, icc=icc, per_cell=1)
        for x, y, f in zip(low, high, fraction, strict=True):
            found = line.predict(x, f)
            inside.append(found.low <= y <= found.high)
    assert 0.85 <= np.mean(inside) <= 0.95


def test_points_of_one_cell_do_not_count_as_many() -> None:
    rng = np.random.default_rng(3)
    low = rng.uniform(0.3, 1.1, 6)
    high = low + 0.2 + rng.normal(0, 0.1, 6)
    repeated = [a.repeat(4) + rng.normal(0, 0.01, 24) for a in (low, high)]
    same_cell = fit_line(*repeated, np.zeros(24), [g for g in "abcdef" for _ in range(4)])
    as_if_new = fit_line(*repeated, np.zeros(24), [str(i) for i in range(24)])

    def width(line: Any) -> float:
        found = line.predict(0.7, 0.0)
        return float(found.high - found.low)

    assert width(same_cell) > 1.3 * width(as_if_new)
    assert same_cell.slope(0.0).std > 1.3 * as_if_new.slope(0.0).std
    assert same_cell.intraclass_correlation().mean > 0.8


def test_a_class_with_few_points_is_wide_but_not_absurd() -> None:
    rng = np.random.default_rng(5)
    low = rng.uniform(0.3, 1.1, 20)
    high = low + 0.1 + rng.normal(0, 0.05, 20)
    fraction = np.array([0.0] * 19 + [1.0])
    line = fit_line(low, high, fraction, [str(i) for i in range(20)])
    known, rare = line.predict(0.7, 0.0), line.predict(0.7, 1.0)
    assert 1.3 * (known.high - known.low) < rare.high - rare.low < 1.5
    assert abs(rare.value - 0.8) < 0.3


def test_intervals_widen_beyond_the_points() -> None:
    line = fit_line(*cells(np.random.default_rng(7), 12, icc=0.5))
    widths = [p.high - p.low for p in (line.predict(x, 1.0) for x in (0.7, 1.5, 3.0))]
    assert widths[0] < widths[1] < widths[2]


def test_each_class_has_its_own_residual() -> None:
    rng = np.random.default_rng(8)
    low = rng.uniform(0.3, 1.1, 40)
    fraction = np.array([0.0, 1.0] * 20)
    high = low + rng.normal(0, np.where(fraction == 1, 0.2, 0.03))
    line = fit_line(low, high, fraction, [str(i) for i in range(40)])
    assert line.residual(0.0).mean == pytest.approx(0.03, rel=0.5)
    assert line.residual(1.0).mean == pytest.approx(0.2, rel=0.4)
    assert 0 < line.residual(1.0).std < 0.1


def test_too_few_points_for_a_line() -> None:
    with pytest.raises(ValueError, match="at least 5 points, got 4"):
        fit_line(np.arange(4.0), np.arange(4.0), np.zeros(4), list("abcd"))


# Chemistry


@pytest.mark.parametrize(
    ("A", "B", "states", "expected"),
    [
        ({"Sr": 1}, {"Ti": 1}, {}, 0.0),  # d0
        ({"La": 1}, {"Co": 1}, {}, 1.0),  # d6
        ({"La": 1}, {"Al": "1/2", "Fe": "1/2"}, {}, 0.5),  # no d and d5
        ({"La": 1}, {"Sc": "1/4", "Ga": "3/4"}, {}, 0.0),
        ({"K": 1}, {"Nb": 1}, {"Nb": 5}, 0.0),
        ({"La": 1}, {"Zn": "1/2", "Mn": "1/2"}, {"Zn": 2, "Mn": 4}, 0.5),  # d10 and d3
        ({"La": 1}, {"Ti": 1}, {"Ti": 3}, 1.0),  # d1
    ],
)  # fmt: skip
def test_open_shells_are_counted_on_B(candidate: Make, A: Any, B: Any, states: Any, expected: float) -> None:
    assert open_shell_fraction(candidate(A, B, **states)) == expected


# Calibrations


def test_a_calibration_does_not_depend_on_the_order_of_its_points() -> None:
    points = synthetic_points()
    (one,), (other,) = fit_calibrations(points), fit_calibrations(points[::-1])
    assert one.calibration_id == other.calibration_id
    assert one.fits == other.fits
    changed = [points[0].model_copy(update={"high": 9.0}), *points[1:]]
    assert fit_calibrations(changed)[0].calibration_id != one.calibration_id


def test_a_calibration_says_how_good_it_is() -> None:
    (calibration,) = fit_calibrations(synthetic_points(14))
    (fit,) = calibration.fits
    assert (fit.n_points, fit.n_groups) == (42, 14)
    assert 0.8 <= fit.coverage <= 1
    assert fit.error_after < 0.4 * fit.error_before
    closed, opened = fit.classes
    assert (closed.chemistry, opened.chemistry) == ("closed-shell", "open-shell")
    assert closed.n_points + opened.n_points == 42
    for found, slope, shift in ((closed, 1.1, 0.0), (opened, 1.3, 0.2)):
        assert found.slope.value == pytest.approx(slope, abs=4 * found.slope.std)
        assert found.offset.value == pytest.approx(shift + (slope - 1) * fit.center, abs=4 * found.offset.std)
        assert 0.02 < found.residual_std.value < 0.15
    assert CalibrationDoc.model_validate_json(json.dumps(calibration.to_mongo())) == calibration


def test_a_cell_is_left_out_whole() -> None:
    points = synthetic_points()
    outlier = [p.model_copy(update={"high": p.high + 3}) if p.group == "cell-0" else p for p in points]
    found = leave_one_group_out(outlier)
    for p, q in zip(outlier, found, strict=True):
        if p.group == "cell-0":
            assert abs(q.value - (p.high - 3)) < 0.5  # its own points did not pull the line up


def test_pairs_of_protocols_are_kept_apart() -> None:
    points = synthetic_points()
    other = [p.model_copy(update={"high_protocol_hash": "high-2", "high": p.high + 1}) for p in points]
    new_model = [p.model_copy(update={"low_protocol_hash": "low-2", "high": p.high + 2}) for p in points]
    first, second = fit_calibrations([*points, *other, *new_model])
    assert (first.high_protocol_hash, second.high_protocol_hash) == ("high-1", "high-2")
    assert [fit.low_protocol_hash for fit in first.fits] == ["low-1", "low-2"]
    moved = [predict(c, fit, 0.6, 1.0).value for c, fit in ((first, first.fits[0]), (second, second.fits[0]))]
    assert moved[1] - moved[0] == pytest.approx(1, abs=1e-6)


def test_too_few_cells_are_not_fitted_and_mixed_units_are_refused() -> None:
    few = [p for p in synthetic_points() if p.group in ("cell-0", "cell-1", "cell-2")]
    (calibration,) = fit_calibrations(few)
    assert calibration.fits == []
    assert calibration.too_few["migration_barrier"].startswith("9 points of 3 cells; at least 4 cells are needed")
    lopsided = [point(0.5, 0.6, group) for group in "abc"] + [point(0.5 + i / 9, 0.7, "d") for i in range(9)]
    assert fit_calibrations(lopsided)[0].fits == []
    points = synthetic_points()
    with pytest.raises(InputError, match="expected one unit, got eV, kJ/mol"):
        fit_calibrations([points[0].model_copy(update={"unit": "kJ/mol"}), *points[1:]])


# Use on quantities


@pytest.fixture(scope="module")
def calibration() -> CalibrationDoc:
    return fit_calibrations(synthetic_points(14))[0]


def test_a_value_is_corrected_with_its_interval(candidate: Make, calibration: CalibrationDoc) -> None:
    spec = candidate({"La": 1}, {"Co": 1})
    before = barrier(interval=(0.55, 0.8))
    after = calibrated("migration_barrier", before, spec, [calibration])
    expected = predict(calibration, calibration.fits[0], 0.6, 1.0)
    assert after.value == expected.value == pytest.approx(0.2 + 1.3 * 0.6, abs=0.1)
    assert (after.uncorrected, after.calibration) == (0.6, calibration.calibration_id)
    assert after.interval is not None
    slope = calibration.fits[0].classes[1].slope.value
    assert after.std == pytest.approx(0.1 * slope)
    assert after.max is not None and after.min is not None
    assert after.max - after.value == pytest.approx(0.2 * slope)
    assert after.value - after.min == pytest.approx(0.15 * slope)
    # Errors of the correction and of the barrier itself add in squares, on either side.
    below, above = 0.05 * slope, 0.2 * slope
    assert after.value - after.interval[0] == pytest.approx(np.hypot(expected.value - expected.low, below), rel=1e-4)
    assert after.interval[1] - after.value == pytest.approx(np.hypot(expected.high - expected.value, above), rel=1e-4)
    assert "corrected to dft-x" in after.method
    assert before == barrier(interval=(0.55, 0.8))
    assert calibrated("migration_barrier", after, spec, [calibration]) == after


def test_a_value_without_an_interval_gets_that_of_the_correction(candidate: Make, calibration: CalibrationDoc) -> None:
    after = calibrated("migration_barrier", barrier(), candidate({"La": 1}, {"Co": 1}), [calibration])
    expected = predict(calibration, calibration.fits[0], 0.6, 1.0)
    assert after.interval == pytest.approx((expected.low, expected.high))


def test_extrapolation_is_flagged_and_wider(candidate: Make, calibration: CalibrationDoc) -> None:
    spec = candidate({"La": 1}, {"Co": 1})
    near, far = (calibrated("migration_barrier", barrier(v, std=None), spec, [calibration]) for v in (0.6, 5.0))
    assert near.interval is not None and far.interval is not None
    assert "extrapolated" in far.method
    assert "extrapolated" not in near.method
    assert far.interval[1] - far.interval[0] > 2 * (near.interval[1] - near.interval[0])


@pytest.mark.parametrize(
    ("quantity", "note"),
    [
        (barrier(protocol_hash="other"), "; not corrected: no calibration of mlip-x other"),
        (barrier(unit="kJ/mol"), "; not corrected: no calibration of mlip-x low-1"),
        (barrier(None), ""),
    ],
)
def test_what_no_calibration_is_for_stays(
    candidate: Make, calibration: CalibrationDoc, quantity: Quantity, note: str
) -> None:
    after = calibrated("migration_barrier", quantity, candidate({"La": 1}, {"Co": 1}), [calibration])
    assert after == quantity.model_copy(update={"method": quantity.method + note})


def test_without_calibration_of_the_property_nothing_changes(candidate: Make, calibration: CalibrationDoc) -> None:
    spec = candidate({"La": 1}, {"Co": 1})
    assert calibrated("migration_barrier", barrier(), spec, []) == barrier()
    assert calibrated("formation_energy_per_atom", barrier(), spec, [calibration]) == barrier()


def test_chemistry_that_no_point_has_is_not_corrected(candidate: Make) -> None:
    closed = [p.model_copy(update={"open_shell_fraction": 0.0}) for p in synthetic_points()]
    after = calibrated("migration_barrier", barrier(), candidate({"La": 1}, {"Co": 1}), fit_calibrations(closed))
    assert (after.value, after.interval, after.calibration) == (0.6, None, None)
    assert "no calibration point of this chemistry" in after.method


def test_of_several_the_one_with_most_cells_is_used(candidate: Make, calibration: CalibrationDoc) -> None:
    (smaller,) = fit_calibrations(synthetic_points(8, high_protocol="dft-y"))
    for known in ([smaller, calibration], [calibration, smaller]):
        after = calibrated("migration_barrier", barrier(), candidate({"La": 1}, {"Co": 1}), known)
        assert after.calibration == calibration.calibration_id


def test_a_result_is_corrected_property_by_property(candidate: Make, calibration: CalibrationDoc) -> None:
    doc = stored(candidate, hops=1)[0]
    before = doc.results[0].model_copy(update={"migration_barrier": barrier()})
    after = calibrated_result(before, doc.candidate, [calibration])
    assert after.migration_barrier == calibrated("migration_barrier", barrier(), doc.candidate, [calibration])
    assert after.migration_barrier.interval is not None
    assert after.band_gap == before.band_gap
    assert after.hops == before.hops


# Sets in files


def as_set(points: Iterable[CalibrationPoint]) -> str:
    return CalibrationSet(
        name="synthetic",
        description="Made up.",
        created_at=NOW,
        versions={},
        protocols={},
        cells={},
        points=list(points),
    ).model_dump_json()


def test_files_of_points(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    with pytest.raises(InputError, match="no such file of calibration points"):
        read_set(path)
    path.write_text(as_set(synthetic_points()))
    assert read_set(path).points == synthetic_points()
    path.write_text(as_set(synthetic_points()).replace('"low":', '"lwo":', 1))
    with pytest.raises(InputError, match=r"points\.json: points\.0\.low: Field required"):
        read_set(path)
    path.write_text("{")
    with pytest.raises(InputError, match="Invalid JSON"):
        read_set(path)


def test_shipped_points_are_enough_and_their_intervals_honest() -> None:
    points = [p for shipped in shipped_sets() for p in shipped.points]
    assert len(points) >= 30
    calibrations = shipped_calibrations()
    inside = []
    for calibration in calibrations:
        for fit in calibration.fits:
            mine = [p for p in calibration.points if p.property == fit.property]
            found = leave_one_group_out(mine)
            inside += [q.low <= p.high <= q.high for p, q in zip(mine, found, strict=True)]
    assert len(inside) == len(points)
    assert 0.85 <= np.mean(inside) <= 0.95


def test_shipped_points_belong_to_the_shipped_protocols_and_state_their_provenance() -> None:
    for shipped in shipped_sets():
        assert {"hemiec", "gpaw", "chgnet"} <= set(shipped.versions)
        for p in shipped.points:
            low = load_mlip(p.low_protocol)
            part = "relax" if p.property == "formation_enthalpy_from_oxides_per_atom" else "saddle"
            assert p.low_protocol_hash == low.hash_of(part)
            assert p.high_protocol_hash == load_dft(p.high_protocol).hash
            cell = shipped.cells[p.group]
            dft, mlip = cell["dft"], cell["mlip"].get("initial_saddle_final_energy")
            assert dft["host"] and cell["structures"]["host"] and np.isfinite(cell["mlip"]["host_energy"])
            if p.property == "migration_barrier":
                end, index = ("initial", 0) if p.source.endswith("forward") else ("final", 2)
                assert p.high == pytest.approx(dft["saddle"]["energy"] - dft[end]["energy"], abs=1e-6)
                assert p.low == pytest.approx(mlip[1] - mlip[index], abs=2e-3)  # single-precision energies


# Store and command


def stored(candidate: Make, hops: int = 6) -> list[CandidateDoc]:
    """Return synthetic candidates whose hops have barriers of both tiers; DFT is 0.2 eV above, all else missing."""
    rng = np.random.default_rng(4)
    docs = []
    for A, B in (("La", "Co"), ("La", "Fe"), ("Sr", "Ti"), ("Ba", "Zr"), ("La", "Al"), ("La", "Mn")):
        spec = candidate({A: 1}, {B: 1})
        none = Quantity(value=None, unit="eV", method="synthetic", reason="not computed")
        summaries = [
            HopSummary(
                mobile="O", hop=i, environment="", forward_barrier=f, reverse_barrier=f + 0.1, reaction_coordinate=[],
                energies=[], job_uuid=f"mlip-{i}", dft_forward_barrier=f + 0.2 + rng.normal(0, 0.02),
                dft_reverse_barrier=f + 0.3, dft_protocol="dft-x", dft_protocol_hash="high-1", dft_job_uuid=f"dft-{i}",
            )
            for i, f in enumerate(rng.uniform(0.3, 1.0, hops))
        ]  # fmt: skip
        quantities = {
            "band_gap": none, "migration_barrier": barrier(1.6, uncorrected=0.6, calibration="cal-old"),
            "formation_energy_per_atom": none, "formation_enthalpy_from_oxides_per_atom": none,
        }  # fmt: skip
        result = CandidateResult(
            plan_id="p1", jobs=[], hops=summaries, confirmed_formation_enthalpy_from_oxides_per_atom=none, **quantities
        )
        docs.append(
            CandidateDoc(
                candidate_id=spec.candidate_id, candidate=spec, **composition_of(spec), campaigns=[], results=[result],
                input_hash="", builder_version=1, last_updated=NOW, **quantities,
            )
        )  # fmt: skip
    return docs


def test_points_of_a_candidate(candidate: Make) -> None:
    doc = stored(candidate, hops=2)[0]
    hop = doc.results[0].hops[0]
    found = points_of(doc)
    assert len(found) == 4
    assert (found[0].low, found[0].high) == (hop.forward_barrier, hop.dft_forward_barrier)
    assert (found[1].low, found[1].high) == (hop.reverse_barrier, hop.dft_reverse_barrier)
    assert {p.group for p in found} == {f"{doc.candidate_id}:p1"}
    assert found[0].job_uuids == ["mlip-0", "dft-0"]
    with_vacancies = {"vacancy_formation_energies": [3.1, 3.2], "dft_vacancy_formation_energies": [3.5, 3.6]}
    vacant = doc.results[0].model_copy(update={"hops": [hop.model_copy(update=with_vacancies)]})
    found = points_of(doc.model_copy(update={"results": [vacant]}))
    assert [(p.low, p.high) for p in found if p.property == "vacancy_formation_energy"] == [(3.1, 3.5), (3.2, 3.6)]
    enthalpy = Quantity(value=-0.4, unit="eV/atom", method="", protocol="mlip-x", protocol_hash="r", uncorrected=-0.1)
    dft = Quantity(value=-0.3, unit="eV/atom", method="", protocol="dft-x", protocol_hash="high-1")
    more = doc.results[0].model_copy(
        update={
            "hops": [hop.model_copy(update={"dft_reverse_barrier": None})],
            "formation_enthalpy_from_oxides_per_atom": enthalpy,
            "confirmed_formation_enthalpy_from_oxides_per_atom": dft,
        }
    )
    found = points_of(doc.model_copy(update={"results": [more]}))
    assert [p.property for p in found] == ["migration_barrier", "formation_enthalpy_from_oxides_per_atom"]
    # The value before an earlier correction is what is calibrated.
    assert (found[1].low, found[1].high, found[1].unit) == (-0.1, -0.3, "eV/atom")


@pytest.fixture
def database(settings: Settings) -> Iterable[Database]:
    opened = open_database(settings)
    yield opened
    opened.close()


@pytest.mark.store
def test_the_latest_calibration_of_a_pair_is_the_current_one(database: Database, calibration: CalibrationDoc) -> None:
    assert current_calibrations(database) == list(shipped_calibrations())
    (other,) = fit_calibrations(synthetic_points(8))
    save_calibration(database, calibration.model_copy(update={"created_at": NOW}))
    save_calibration(database, other)
    found = [c for c in current_calibrations(database) if c.low_protocol == "mlip-x"]
    assert [c.calibration_id for c in found] == [calibration.calibration_id]  # of the year 2030
    save_calibration(database, other.model_copy(update={"created_at": NOW.replace(year=2031), "model": "older"}))
    (current,) = (c for c in current_calibrations(database) if c.low_protocol == "mlip-x")
    assert current.calibration_id == other.calibration_id
    assert current.model != "older"  # fitted again
    assert database["calibrations"].count_documents({}) == 2


@pytest.mark.store
def test_calibrate_fits_stores_and_draws(database: Database, candidate: Make, tmp_path: Path) -> None:
    runner = CliRunner()
    empty = runner.invoke(cli, ["calibrate", "--no-shipped"])
    assert isinstance(empty.exception, InputError)
    assert "no property with values of both tiers" in str(empty.exception)
    for doc in stored(candidate):
        for name, parts in documents_of(doc).items():
            if parts:
                database[name].insert_many(parts)
    assert len(collect_points(database)) == 72
    plot = tmp_path / "parity.png"
    dry = runner.invoke(cli, ["calibrate", "--no-shipped", "--dry-run", "--plot", str(plot)], catch_exceptions=False)
    assert "mlip-x to dft-x: 72 points" in dry.stdout
    assert "open-shell" in dry.stdout
    assert "stored" not in dry.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert database["calibrations"].count_documents({}) == 0
    file = tmp_path / "more.json"
    file.write_text(as_set(synthetic_points(5)))
    out = runner.invoke(cli, ["calibrate", "--no-shipped", "--points", str(file), "--json"], catch_exceptions=False)
    (shown,) = json.loads(out.stdout)
    (fit,) = shown["fits"]
    assert (fit["n_points"], fit["n_groups"]) == (87, 11)
    assert database["calibrations"].find_one({}, {"_id": 0}) == shown


def test_a_corrected_barrier_does_not_go_below_zero(candidate: Make) -> None:
    for calibration in shipped_calibrations():
        fit = next(f for f in calibration.fits if f.property == "migration_barrier")
        low = Quantity(
            value=0.01, unit="eV", method="m", n=3, std=0.3, min=0.0, max=0.4, protocol="p",
            protocol_hash=fit.low_protocol_hash,
        )  # fmt: skip
        after = calibrated("migration_barrier", low, candidate({"La": 1}, {"Fe": 1}), [calibration])
        assert after.interval is not None and after.interval[0] == 0.0 <= after.value <= after.interval[1]
        assert after.min is not None and after.min >= 0
