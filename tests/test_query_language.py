"""The query language: what it compiles to, what it refuses, and that it finds what its words say."""

from __future__ import annotations

import json
import operator
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemiec.errors import QueryError
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.database import Database
from hemiec.store.queries.fields import SCHEMAS, field_named, fields_of
from hemiec.store.queries.language import compile, parse
from hemiec.store.queries.syntax import (
    MAX_DEPTH,
    Arithmetic,
    Call,
    Comparison,
    Logic,
    Membership,
    Name,
    Node,
    Number,
    Text,
)

MONGO = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "==": "$eq"}
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "==": "=="}
GAP = "band_gap.value"


# --- what it compiles to


@pytest.mark.parametrize("symbol", MONGO)
def test_operators_and_mirrored_numbers(symbol: str) -> None:
    expected = {GAP: {MONGO[symbol]: 1.5}}
    assert compile(f"band_gap {symbol} 1.5") == expected
    assert compile(f"1.5 {MIRRORED[symbol]} band_gap") == expected


def test_unequal_numbers_are_numbers() -> None:
    assert compile("band_gap != 1") == {GAP: {"$ne": 1.0, "$type": "number"}}
    assert compile("not band_gap = 1") == compile("band_gap != 1")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1", 1.0), ("-1", -1.0), ("--1", 1.0), ("1e-3", 0.001), (".5", 0.5), ("1/6", 1 / 6), ("2*(1 - 0.25)", 1.5),
        ("0.1 + 0.2", 0.3), ("+3", 3.0), ("1.e2", 100.0),
    ],
)  # fmt: skip
def test_constants_are_exact(written: str, number: float) -> None:
    assert compile(f"band_gap < {written}") == {GAP: {"$lt": number}}


def test_a_single_field_is_solved_for() -> None:
    assert compile("2*band_gap - 1 < 3") == {GAP: {"$lt": 2.0}}
    assert compile("-band_gap/4 < 1") == {GAP: {"$gt": -4.0}}
    assert compile("band_gap + 1 > 3 - band_gap") == {GAP: {"$gt": 1.0}}


def test_chains_and_ranges_are_both_conditions() -> None:
    both = {"$and": [{GAP: {"$gt": 0.5}}, {GAP: {"$lte": 3.0}}]}
    assert compile("0.5 < band_gap <= 3") == both
    assert compile("band_gap in [0.5..3]") == {"$and": [{GAP: {"$gte": 0.5}}, {GAP: {"$lte": 3.0}}]}
    assert compile("band_gap not in [0.5 .. 3]") == {"$or": [{GAP: {"$lt": 0.5}}, {GAP: {"$gt": 3.0}}]}


def test_and_or_not_and_parentheses() -> None:
    a, b, c = ({GAP: {"$lt": float(n)}} for n in (1, 2, 3))
    one, two, three = (f"band_gap < {n}" for n in (1, 2, 3))
    assert compile(f"{one} and {two} and {three}") == {"$and": [a, b, c]}
    assert compile(f"{one} or {two} AND {three}") == {"$or": [a, {"$and": [b, c]}]}
    assert compile(f"({one} or {two}) and {three}") == {"$and": [{"$or": [a, b]}, c]}
    assert compile(f"not ({one} and {two})") == {"$or": [{GAP: {"$gte": 1.0}}, {GAP: {"$gte": 2.0}}]}
    assert compile(f"not (not ({one}))") == a
    assert compile(f"  (({one}))\n") == a


def test_elements_and_sublattices() -> None:
    assert compile("has(Co)") == {"elements": "Co"}
    assert compile("not has(Pb)") == {"elements": {"$ne": "Pb"}}
    assert compile("has(In)") == {"elements": "In"}  # not the word `in`
    assert compile("has(Co, B)") == {"elements": "Co", "candidate.sites.B.Co": {"$exists": True}}
    assert compile("has(B, B)")["elements"] == "B"  # boron on B
    assert compile("n_species(A) >= 5") == {"n_species.A": {"$gte": 5.0}} == compile("n_species.A >= 5")
    # Which candidates have the species at all is told by an index.
    assert compile("fraction(A, La) >= 1/5")["elements"] == "La"
    assert "elements" not in compile("fraction(A, La) < 1/5")
    assert "elements" not in compile("fraction(X, vacancy) > 0")


def test_sums_carry_bounds_that_an_index_can_use() -> None:
    compiled = compile("barrier.effective + barrier.std < 0.5")["$and"]
    total = {"$subtract": ["$migration_barrier.value", {"$multiply": [-1.0, "$migration_barrier.std"]}]}
    assert {"$expr": {"$lt": [total, 0.5]}} in compiled
    bounds = [part["migration_barrier.value"] for part in compiled if "migration_barrier.value" in part]
    assert any(bound.get("$lte") == pytest.approx(0.5) and bound["$lte"] >= 0.5 for bound in bounds)
    # A gap may be anything, so this says nothing of the barrier alone.
    free = compile("barrier + gap < 0.5")["$and"]
    assert not any("$lte" in part.get("migration_barrier.value", {}) for part in free)


def test_texts_truths_and_dates() -> None:
    assert compile('label = "(La,Sr)CoO3"') == {"candidate.label": "(La,Sr)CoO3"}
    assert compile("chemsys != 'Co-La-O'") == {"chemsys": {"$nin": ["Co-La-O"], "$type": "string"}}
    assert compile('campaign = "x"') == {"campaigns": "x"}
    assert compile('campaign != "x"') == {"campaigns": {"$nin": ["x"]}}
    assert compile('band_gap.protocol in ["a", "b"]') == {"band_gap.protocol": {"$in": ["a", "b"]}}
    assert compile("charge_balanced") == {"candidate.charge_balanced": True} == compile("charge_balanced = true")
    assert compile("not charge_balanced") == {"candidate.charge_balanced": False} == compile("charge_balanced != true")
    assert compile('last_updated >= "2026-11-22"') == {"last_updated": {"$gte": "2026-11-22"}}
    assert compile('last_updated <= "2026-11-22"') == {"last_updated": {"$lt": "2026-11-23"}}
    moment = compile('last_updated < "2026-11-22T12:00:00+01:00"')
    assert moment == {"last_updated": {"$lt": "2026-11-22T11:00:00"}}


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
def test_nothing_asked_matches_everything(empty: str) -> None:
    assert compile(empty) == {}


# --- units


@pytest.mark.parametrize(
    ("written", "path", "number"),
    [
        ("band_gap < 500 meV", "band_gap.value", 0.5),
        ("band_gap < 0.5eV", "band_gap.value", 0.5),
        # CODATA 2018: 1 eV is 96.48533212331 kJ/mol.
        ("migration_barrier < 50 kJ/mol", "migration_barrier.value", 50 / 96.48533212331002),
        ("formation_energy < -20 meV/atom", "formation_energy_per_atom.value", -0.02),
        ("formation_energy < 1 kJ/mol", "formation_energy_per_atom.value", 1 / 96.48533212331002),
        ("radius_mean_A < 140 pm", "candidate.radius_mean_A", 1.4),
        ("radius_variance_A < 0.5 Å^2", "candidate.radius_variance_A", 0.5),
        ("radius_variance_A < 0.5 angstrom^2", "candidate.radius_variance_A", 0.5),
        ("molar_mass < 0.2 kg/mol", "candidate.molar_mass", 200.0),
        ("configurational_entropy < 1.5 R", "candidate.configurational_entropy", 1.5),
        ("net_charge < 0.1 e", "candidate.net_charge", 0.1),
        ("band_gap - 100 meV < 0.4", "band_gap.value", 0.5),
    ],
)
def test_units_are_converted(written: str, path: str, number: float) -> None:
    assert compile(written) == {path: {"$lt": pytest.approx(number, rel=1e-12)}}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("band_gap < 1 meV/atom", "band_gap is in eV, which 'meV/atom' cannot be converted to"),
        ("formation_energy < 1 eV", "formation_energy_per_atom is in eV/atom, which 'eV' cannot"),
        ("band_gap < 1 angstrom", "band_gap is in eV, which 'angstrom' cannot"),
        ("tolerance_factor < 1 eV", "tolerance_factor has no unit, which 'eV' cannot"),
        ("band_gap < 1 mev", "unknown unit 'mev'; did you mean 'meV'"),
        ("band_gap < formation_energy", "band_gap is in eV and formation_energy_per_atom in eV/atom"),
        ("band_gap + tolerance_factor < 1", "band_gap is in eV and tolerance_factor in no unit"),
        ("band_gap * 2 eV < 1", "has to be a plain number"),
        ("n_species(A) > 5 eV", "n_species.A has no unit"),
    ],
)
def test_units_that_do_not_fit(written: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        compile(written)


# --- fields


@pytest.mark.parametrize("collection", SCHEMAS)
def test_every_field_is_one_of_the_schema_with_unit_and_description(collection: str) -> None:
    for name, field in fields_of(collection).items():
        assert field.description
        assert (field.unit != "") == (field.kind == "number"), name
        assert compile(f"known({name})", collection)
        annotation: Any = SCHEMAS[collection]
        for part in field.path.split("."):
            fields = getattr(annotation, "model_fields", None)
            if fields is None:  # the sublattices of n_species
                break
            annotation = fields[part].annotation


def test_units_of_quantities_are_those_they_are_stored_in() -> None:
    stored = dict(zip(PROPERTIES, ("eV", "eV", *["eV/atom"] * 4), strict=True))
    for name, unit in stored.items():
        for part in ("", ".std", ".min", ".max", ".uncorrected"):
            assert fields_of()[f"{name}{part}"].unit == unit
        assert fields_of()[f"{name}.n"].unit == "1"
    assert fields_of("structures")["density"].unit == "g/cm^3"
    assert fields_of("hops")["forward_barrier"].unit == "eV"


def test_shorter_names() -> None:
    for short, name in {
        "gap": "band_gap", "barrier": "migration_barrier", "barrier.effective": "migration_barrier",
        "barrier.std": "migration_barrier.std", "gap.value": "band_gap", "gap.n": "band_gap.n",
        "migration_barrier.value": "migration_barrier", "campaign": "campaigns",
    }.items():  # fmt: skip
        assert field_named(short).name == name


def test_misspelt_names_are_corrected() -> None:
    for wrong, right in {
        "bandgap < 1": "did you mean 'band_gap'", "migration_barier.min < 1": "did you mean 'migration_barrier.min'",
        "has(Cobalt)": "did you mean 'Co'", "hass(Co)": "did you mean 'has'", "zzzz < 1": "--list-fields",
        "n_species(Q) > 1": "expected a sublattice", "has(Co, Q)": "expected a sublattice",
        "forward_barrier < 1": "unknown field 'forward_barrier' of candidates",
    }.items():  # fmt: skip
        with pytest.raises(QueryError, match=right):
            compile(wrong)
    with pytest.raises(QueryError, match="structures have no sublattices"):
        compile("has(Co, B)", "structures")
    with pytest.raises(QueryError, match="did you mean 'hops'"):
        compile("has(Co)", "hop")


# --- what it refuses

HOSTILE = [
    "__import__('os')", "__import__('os').system('true') == 0", "$where", "{'$where': 'sleep(1000)'}",
    "'$where' == 1", "band_gap == {'$gt': ''}", "band_gap == 'x'", "band_gap.__class__ < 1", "().__class__ == 1",
    "(lambda: 1)()", "[x for x in (1,)]", "band_gap[0] < 1", "f'{band_gap}' < 1", "(x := 1) < 2",
    "band_gap if 1 else 2", "band_gap", "1", "1 < 2", "True", "None", "...", "band_gap < True", "band_gap < None",
    "band_gap < 1j", "band_gap < nan", "band_gap < inf", "band_gap < ~1", "band_gap in (1, 2)", "band_gap in []",
    "band_gap is 1", "band_gap < 1; has(Co)", "band_gap < 1\nhas(Co)", "band_gap < 1 \x00", "band_gap <",
    "band_gap < 1, has(Co)", "has()", "has(Co, Ni)", "has('Co')", "has(*Co)", "has(Co=1)", "has(Co, x=1)",
    "has(cobalt)", "has(sites.A.Co)", "hasnt(Co)", "has.has(Co)", "has(Co)(Co)", "has(Co) & has(Ni)", "await has(Co)",
    "import os", "\udcff", "formula < 'a'", "formula = 1", "formula ~ 'La.*'", "formula = /La.*/",
    "formula = 'a' + 'b'", "formula + 1 < 2", "campaigns > 'a'", "has(Co) = 1", "has(Co) + 1 > 0",
    "band_gap * migration_barrier < 1", "1 / band_gap < 1", "band_gap / 0 < 1", "band_gap * 0 < 1",
    "band_gap - band_gap < 1", "(band_gap < 1) + 1 < 2", "charge_balanced = 1", "charge_balanced > false",
    "last_updated > 'yesterday'", "last_updated > 2026", "known()", "known(has)", "known(1)",
    "missing(fraction(A, La))", "n_species() > 1", "n_species(A, B) > 1", "fraction(A) > 0", "fraction(A, Xx) > 0",
    "band_gap in [1 .. ]", "band_gap in [1, 'a']", "formula in [1 .. 2]", "band_gap < 1e400",
    "band_gap < 1e-999999999", "band_gap < 1e308 * 1e308", "band_gap < 1 'a'", "candidate.formula = 'a'", "_id = 'a'",
    "results.n_atoms > 1",
]  # fmt: skip


@pytest.mark.parametrize("expression", HOSTILE)
def test_anything_else_is_one_clear_error(expression: str) -> None:
    with pytest.raises(QueryError) as caught:
        compile(expression)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("query: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_errors_say_where() -> None:
    with pytest.raises(QueryError, match=r"at column 14, 'band_gap < 1 »& has\(Co\)'; expected .*and"):
        compile("band_gap < 1 & has(Co)")
    with pytest.raises(QueryError, match=r"ends too early; expected .*a number"):
        compile("band_gap < ")
    with pytest.raises(QueryError, match=r"at column 5, 'has\(»Xx\)'"):
        compile("has(Xx)")


@pytest.mark.parametrize(
    "expression",
    [
        "not " * 450 + "band_gap < 1",  # MongoDB refuses documents nested deeper than 100
        "band_gap < 1 and (" * 105 + "band_gap < 1" + ")" * 105,
        "band_gap < " + "-" * 1900 + "1",
        "a." * 900 + "b < 1",
        "[" * 1900,
        "(" * 1900,
        "band_gap < " + "9" * 400,  # above the largest float
        "band_gap < 1" + " or band_gap < 1" * 1000,
        "x" * 100_000,
    ],
    ids=["not", "and", "minus", "attributes", "brackets", "parentheses", "huge number", "long", "longer"],
)
def test_deep_and_huge_queries_are_query_errors(expression: str) -> None:
    with pytest.raises(QueryError):
        compile(expression)


ATOMS = st.sampled_from(
    ["band_gap", "formula", "1", "2 eV", "<", ">=", "=", "and", "or", "not", "in", "(", ")", "[", "]", "..", "+", "*",
     "has", "fraction", "n_species", "known", "A", "Co", ".", ",", "'", '"x"', "$", "\n"]
)  # fmt: skip
OPERATORS = {"$and", "$or", "$exists", "$type", "$expr", "$subtract", "$multiply", "$divide", "$let", "$split"}
OPERATORS |= {"$ifNull", "$arrayElemAt", "$toDouble", "$in", "$nin", "$ne", "$eq", "$lt", "$lte", "$gt", "$gte"}


@given(st.one_of(st.text(max_size=60), st.lists(ATOMS, max_size=14).map(" ".join)))
def test_any_text_gives_a_known_filter_or_a_query_error(text: str) -> None:
    try:
        compiled = compile(text)
    except QueryError:
        return
    assert {key for key in _keys(compiled) if key.startswith("$")} <= OPERATORS
    json.dumps(compiled)


def _keys(content: Any) -> set[str]:
    if isinstance(content, dict):
        return set(content) | {k for value in content.values() for k in _keys(value)}
    return {k for item in content for k in _keys(item)} if isinstance(content, list) else set()


# --- that it finds what its words say: MongoDB beside an evaluation of the same tree in Python

LEVELS = [k / 8 for k in range(-8, 17)]
NUMBERS = {
    "band_gap": ("band_gap", "value"),
    "migration_barrier": ("migration_barrier", "value"),
    "barrier.std": ("migration_barrier", "std"),
}
Truth = bool | None


def some_documents(n: int) -> list[dict[str, Any]]:
    """Return documents with the fields asked for below, each of which is null or absent in some."""
    rng = random.Random(7)

    def quantity() -> dict[str, Any]:
        found: dict[str, Any] = {"value": rng.choice([*LEVELS, None, None]), "std": rng.choice([0, 0.125, 1, None])}
        return found if rng.random() < 0.8 else {"value": found["value"]}

    documents = []
    for k in range(n):
        A = rng.choice(
            [{"La": "1"}, {"La": "1/2", "Sr": "1/2"}, {"La": "1/4", "Sr": "3/4"}, {"Sr": "7/8", "vacancy": "1/8"}]
        )
        B = rng.choice([{"Co": "1"}, {"Co": "1/2", "Fe": "1/2"}])
        documents.append(
            {
                "candidate_id": k,
                "elements": sorted({*A, *B, "O"} - {"vacancy"}),
                "n_species": {"A": len(set(A) - {"vacancy"}), "B": len(B), "X": 1},
                "candidate": {
                    "sites": {"A": A, "B": B, "X": {"O": "1"}},
                    "label": rng.choice(["a", "b", "c", None]),
                    "charge_balanced": rng.random() < 0.5,
                },
                "campaigns": rng.sample(["x", "y"], rng.randint(0, 2)),
                "band_gap": quantity(),
                "migration_barrier": quantity(),
            }
        )
    return documents


def value(node: Node, document: dict[str, Any]) -> Fraction | None:
    """Return the exact value of a number; None if it is unknown."""
    match node:
        case Number(number, unit):
            return number / 1000 if unit == "meV" else number
        case Name(name):
            first, second = NUMBERS[name]
            found = document[first].get(second)
            return None if found is None else Fraction(found)
        case Call("n_species", (Name(site),)):
            return Fraction(document["n_species"][site])
        case Call("fraction", (Name(site), Name(species))):
            return Fraction(document["candidate"]["sites"][site].get(species, 0))
        case Arithmetic(terms, operators):
            numbers = [value(term, document) for term in terms]
            if None in numbers:
                return None
            known = [number for number in numbers if number is not None]
            if len(known) == 1:
                return -known[0] if operators == ("-",) else known[0]
            total = known[0]
            for symbol, number in zip(operators, known[1:], strict=True):
                work = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[symbol]
                total = work(total, number)
            return total
    raise AssertionError(node)


def all_of(truths: list[Truth]) -> Truth:
    return False if False in truths else None if None in truths else True


def opposite(truth: Truth) -> Truth:
    return None if truth is None else not truth


def compared(left: Any, symbol: str, right: Any) -> Truth:
    work = {
        "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne
    }[symbol]  # fmt: skip
    return None if left is None or right is None else work(left, right)


def truth(node: Node, document: dict[str, Any]) -> Truth:
    """Return whether a condition holds; None if that is unknown (Kleene's logic, as SQL's)."""
    spec = document["candidate"]
    match node:
        case Logic("not", (inner,)):
            return opposite(truth(inner, document))
        case Logic(word, conditions):
            truths = [truth(condition, document) for condition in conditions]
            return all_of(truths) if word == "and" else opposite(all_of([opposite(t) for t in truths]))
        case Comparison((Name("label"), Text(text)), (symbol,)):
            return compared(spec["label"], symbol, text)
        case Comparison((Name("campaigns"), Text(text)), (symbol,)):
            return (text in document["campaigns"]) == (symbol == "=")
        case Comparison(terms, symbols):
            numbers = [value(term, document) for term in terms]
            return all_of([compared(a, s, b) for a, s, b in zip(numbers[:-1], symbols, numbers[1:], strict=True)])
        case Membership(Name("label"), values, False, negated):
            found = None if spec["label"] is None else spec["label"] in [v.text for v in values if isinstance(v, Text)]
            return opposite(found) if negated else found
        case Membership(term, values, is_range, negated):
            number, others = value(term, document), [value(v, document) for v in values]
            if is_range:
                found = all_of([compared(number, ">=", others[0]), compared(number, "<=", others[1])])
            else:
                found = opposite(all_of([opposite(compared(number, "=", other)) for other in others]))
            return opposite(found) if negated else found
        case Call("has", (Name(element),)):
            return element in document["elements"]
        case Call("has", (Name(element), Name(site))):
            return element in spec["sites"][site]
        case Call(("known" | "missing") as name, (Name(field),)):
            known = spec["label"] is not None if field == "label" else value(Name(field, 0), document) is not None
            return known == (name == "known")
        case Name("charge_balanced"):
            return bool(spec["charge_balanced"])
    raise AssertionError(node)


literals = st.sampled_from([*(f"{level:g}" for level in LEVELS), "125 meV"]).map(lambda text: f"({text})")
plain = st.sampled_from(["2", "-1", "0.5", "4"])
energies = st.sampled_from(list(NUMBERS))
sums = st.one_of(
    energies,
    st.tuples(energies, st.sampled_from(["+", "-"]), energies).filter(lambda t: t[0] != t[2]).map(" ".join),
    st.tuples(plain, energies, literals).map(lambda t: f"{t[0]}*{t[1]} + {t[2]}"),
    st.tuples(energies, plain, energies).filter(lambda t: t[0] != t[2]).map(lambda t: f"-({t[0]}/{t[1]} - {t[2]})"),
)
symbols = st.sampled_from(["<", "<=", ">", ">=", "=", "!="])
shares = st.sampled_from(
    ["fraction(A, La)", "fraction(A, vacancy)", "fraction(A, La) + fraction(A, Sr)", "n_species(A)"]
)
leaves = st.one_of(
    st.tuples(sums, symbols, literals).map(" ".join),
    st.tuples(literals, symbols, sums).map(" ".join),
    st.tuples(literals, energies, literals).map(lambda t: f"{t[0]} < {t[1]} <= {t[2]}"),
    st.tuples(energies, literals, literals).map(lambda t: f"{t[0]} in [{t[1]} .. {t[2]}]"),
    st.tuples(energies, literals, literals).map(lambda t: f"{t[0]} not in [{t[1]}, {t[2]}]"),
    st.tuples(shares, symbols, st.sampled_from(["0", "1/4", "1/8", "1", "2"])).map(" ".join),
    st.sampled_from(["has(La)", "has(Fe)", "has(Sr, A)", "has(Co, A)", "charge_balanced", "missing(barrier.std)"]),
    st.sampled_from(["known(band_gap)", "missing(label)", 'label = "a"', 'label != "a"', 'label in ["a", "b"]']),
    st.sampled_from(['label not in ["a"]', 'campaigns = "x"', 'campaigns != "y"']),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda t: f"not ({t})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=5,
)


@pytest.mark.store
def test_mongodb_finds_what_the_words_say(database: Database) -> None:
    documents = some_documents(250)
    collection = database["query_examples"]
    collection.insert_many(documents)
    collection.create_index("elements")
    collection.create_index("band_gap.value")

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(conditions)
    def agrees(text: str) -> None:
        found = {document["candidate_id"] for document in collection.find(compile(text), {"candidate_id": 1})}
        tree = parse(text).tree
        assert tree is not None
        assert found == {document["candidate_id"] for document in documents if truth(tree, document)}

    agrees()
    # As deep as the language goes, MongoDB still takes it.
    for word in ("and", "or"):
        deep = f"band_gap < 1 {word} (not (" * 20 + "band_gap != 2" + "))" * 20
        assert list(collection.find(compile(deep)))
    deepest = "band_gap < 1 and ({})"
    text = "band_gap + barrier < 1"
    while True:
        try:
            compiled = compile(deepest.format(text))
        except QueryError as error:
            assert str(MAX_DEPTH) in str(error)
            break
        text = deepest.format(text)
        list(collection.find(compiled))
