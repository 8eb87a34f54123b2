"""Networks with known answers."""

import itertools

import numpy as np

from hemiec.transport.network import HopNetwork, undirected

CUBE = np.eye(3)
FCC = (np.ones((3, 3)) - CUBE) / 2
BCC = np.ones((3, 3)) / 2 - CUBE


def network(lattice, frac_coords, cutoff):
    """All hops between sites closer than a cutoff."""
    lattice, frac = np.asarray(lattice, float), np.asarray(frac_coords, float)
    reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int) + 1
    images = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))))
    shift = frac[None, :, None] - frac[:, None, None] + images
    distance = np.linalg.norm(shift @ lattice, axis=-1)
    start, end, which = np.nonzero((distance > 1e-9) & (distance < cutoff))
    return HopNetwork(lattice, frac, *undirected(start, end, images[which]))


def simple_cubic(a=4.0):
    return network(CUBE * a, [[0, 0, 0]], 1.01 * a)


def face_centred(a=4.0):
    return network(FCC * a, [[0, 0, 0]], 0.72 * a)


def body_centred(a=4.0):
    return network(BCC * a, [[0, 0, 0]], 0.88 * a)


def perovskite_oxygen(a=3.9):
    return network(CUBE * a, np.eye(3) / 2, 0.72 * a)


def repeated(cell, rows):
    """The network in a cell of integer rows, and which site and hop of the first each of its sites and hops is."""
    rows = np.asarray(rows)
    inverse = np.linalg.inv(rows)
    corners = np.array(list(itertools.product((0, 1), repeat=3))) @ rows
    box = itertools.product(*(range(lo, hi + 1) for lo, hi in zip(corners.min(0), corners.max(0), strict=True)))
    points = np.array([p for p in box if np.all(np.floor(np.array(p) @ inverse + 1e-9) == 0)])
    assert len(points) == round(abs(np.linalg.det(rows)))
    number = {tuple(p): n for n, p in enumerate(points.tolist())}
    sites = np.tile(np.arange(cell.n_sites), len(points))
    hops = np.tile(np.arange(cell.n_hops), len(points))
    start, end, image = [], [], []
    for n, point in enumerate(points):
        for h in range(cell.n_hops):
            reached = point + cell.image[h]
            over = np.floor(reached @ inverse + 1e-9).astype(int)
            start.append(n * cell.n_sites + cell.start[h])
            end.append(number[tuple((reached - over @ rows).tolist())] * cell.n_sites + cell.end[h])
            image.append(over)
    frac = ((cell.frac_coords[None] + points[:, None]) @ inverse).reshape(-1, 3)
    return HopNetwork(rows @ cell.lattice, frac, np.array(start), np.array(end), np.array(image)), sites, hops


def ring(n, length=10.0):
    """A chain of n sites along x, unevenly spaced, that meets its own image."""
    frac = np.zeros((n, 3))
    frac[:, 0] = np.arange(n) / n + 0.3 / n * np.sin(np.arange(n))
    image = np.zeros((n, 3), dtype=np.int64)
    image[-1, 0] = 1
    return HopNetwork(np.diag([length, 7.0, 8.0]), frac, np.arange(n), (np.arange(n) + 1) % n, image)


def disordered(rows=((2, 1, 0), (0, 2, -1), (1, 0, 2)), seed=0, spread=0.3):
    """Oxygen sites of a perovskite cell with random energies: network, site energies, saddle energies in eV."""
    cell = repeated(perovskite_oxygen(), rows)[0]
    generator = np.random.default_rng(seed)
    sites = generator.normal(-310.0, spread, cell.n_sites)
    saddles = np.maximum(sites[cell.start], sites[cell.end]) + generator.uniform(0.15, 0.8, cell.n_hops)
    return cell, sites, saddles
