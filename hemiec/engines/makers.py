"""One interface to all engines: the Maker of a relaxation, static calculation, gap or barrier by protocol.

Every job returns a CalculationDoc (a DftSaddleDoc for saddles) as a plain mapping.
"""

from __future__ import annotations

from jobflow import Maker

from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.magnetism import starts_for
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import DftProtocol, Protocol
from hemiec.errors import EngineError


def relax_maker(protocol: Protocol, *, relax_cell: bool, name: str, start: str | None = None) -> Maker:
    """Return the Maker that relaxes a structure.

    Parameters
    ----------
    protocol
        Of any engine.
    relax_cell
        Whether the cell relaxes too.
    name
        Job name.
    start
        Magnetic start; None for the protocol's first that applies. A potential has none.

    Raises
    ------
    EngineError
        If the protocol does not relax.
    """
    if isinstance(protocol, MlipProtocol):
        from hemiec.engines.mlip.makers import MlipRelaxMaker

        return MlipRelaxMaker(name=name, protocol=protocol.reference, relax_cell=relax_cell)
    if protocol.relax is None:
        raise EngineError(f"protocol {protocol.name} does not relax structures.", mend="use one that has `relax`")
    if isinstance(protocol, GpawProtocol):
        from hemiec.engines.gpaw.makers import GpawRelaxMaker

        return GpawRelaxMaker(name=name, protocol=protocol.reference, start=start, relax_cell=relax_cell)
    from hemiec.engines.vasp.makers import VaspRelaxMaker

    return VaspRelaxMaker(name=name, protocol=protocol.reference, start=start, relax_cell=relax_cell)


def static_maker(protocol: Protocol, *, name: str, start: str | None = None) -> Maker:
    """Return the Maker of energy and forces at fixed geometry; parameters as :func:`relax_maker`."""
    if isinstance(protocol, MlipProtocol):
        from hemiec.engines.mlip.makers import MlipStaticMaker

        return MlipStaticMaker(name=name, protocol=protocol.reference)
    if isinstance(protocol, GpawProtocol):
        from hemiec.engines.gpaw.makers import GpawStaticMaker

        return GpawStaticMaker(name=name, protocol=protocol.reference, start=start)
    from hemiec.engines.vasp.makers import VaspStaticMaker

    return VaspStaticMaker(name=name, protocol=protocol.reference, start=start)


def gap_maker(protocol: DftProtocol, *, name: str, start: str | None = None) -> Maker:
    """Return the Maker of a band gap from one magnetic start; parameters as :func:`relax_maker`."""
    if isinstance(protocol, GpawProtocol):
        from hemiec.engines.gpaw.makers import GpawGapMaker

        return GpawGapMaker(name=name, protocol=protocol.reference, start=start)
    from hemiec.engines.vasp.makers import VaspGapMaker

    return VaspGapMaker(name=name, protocol=protocol.reference, start=start)


def saddle_maker(protocol: DftProtocol, *, name: str, start: str | None = None) -> Maker:
    """Return the Maker of DFT energies along a path that a cheaper engine found; parameters as :func:`relax_maker`."""
    if isinstance(protocol, GpawProtocol):
        from hemiec.engines.gpaw.makers import GpawSaddleMaker

        return GpawSaddleMaker(name=name, protocol=protocol.reference, start=start)
    from hemiec.engines.vasp.saddles import VaspSaddleMaker

    return VaspSaddleMaker(name=name, protocol=protocol.reference, start=start)


def refuse_elements(symbols: set[str], protocol: DftProtocol) -> None:
    """Raise EngineError if the protocol does not treat one of the elements."""
    refused = sorted(symbols & set(protocol.refused_elements))
    if refused:
        raise EngineError(
            f"protocol {protocol.name} does not treat {', '.join(refused)}: the open 4f shell needs a U and magnetic "
            "states that it does not have.",
            mend=f"name no DFT protocol for it (null), choose other cations, or write a protocol with parent "
            f"{protocol.name} that gives them a U on f and takes them out of `refused_elements`",
        )


__all__ = [
    "gap_maker",
    "refuse_elements",
    "relax_maker",
    "saddle_maker",
    "starts_for",
    "static_maker",
]
