"""Chains of shortest paths between random waypoints of a region: the tracks of strokes.

Reproducible on any machine: path costs and voxel positions are rounded to fixed fractions before
they are compared, so that the last bits of a floating-point result decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

MOST_NODES = 3000  # of a path search; larger regions are searched on a coarser grid
COST_STEPS = 1024  # costs are integers: a path of one voxel at the least cost
POSITION_STEPS = 4096  # of a voxel, to which smoothed positions are rounded
LEGS = 40  # at most, of one stroke
RECENT_LEGS = 3  # from which the next leg leads away
APART = 3  # finest voxels between two tracks, where there is room
WORN_COST = 2.0  # added where tracks would come closer


class Region:
    """Voxels in which strokes may be drawn, as a graph whose short paths are good strokes."""

    def __init__(
        self,
        voxels: np.ndarray,
        cost: np.ndarray,
        allowed: np.ndarray,
        spacing_mm: np.ndarray,
        bend_mm: float,
        rng: np.random.Generator,
    ) -> None:
        """Make the graph.

        Args:
            voxels: (N, D) indices into ``allowed``, N at least 1.
            cost: (N,) of a path through each voxel, per mm; 1 where a hand likes it best.
            allowed: the class (*spatial): paths are smoothed as far as they stay inside.
            bend_mm: about the distance over which a stroke bends.
        """
        # one voxel per block of step^D voxels, the cheapest: thin structures stay connected
        step = max(1, math.ceil((len(voxels) / MOST_NODES) ** (1 / voxels.shape[1])))
        blocks = (voxels - voxels.min(axis=0)) // step + 1
        index = np.full(blocks.max(axis=0) + 2, -1)
        flat = np.ravel_multi_index(blocks.T, index.shape)
        order = np.lexsort((np.rint(cost * COST_STEPS), flat))
        chosen = order[np.unique(flat[order], return_index=True)[1]]
        self.nodes, self.cost, blocks = voxels[chosen], cost[chosen], blocks[chosen]
        self.points_mm = self.nodes * spacing_mm
        self.cost = self.cost + smooth_noise(self.points_mm, bend_mm, rng)
        self.allowed, self.spacing_mm = allowed, spacing_mm
        self._drawn = np.zeros(len(blocks), bool)
        self._worn = np.zeros(len(blocks), bool)  # beside what is drawn
        self._tree = cKDTree(self.points_mm)

        index[tuple(blocks.T)] = np.arange(len(blocks))
        edges = []
        for offset in product((-1, 0, 1), repeat=blocks.shape[1]):
            if offset > (0,) * len(offset):  # the other half are the same edges backwards
                other = index[tuple((blocks + offset).T)]
                edges.append(np.stack((np.flatnonzero(other >= 0), other[other >= 0])))
        self._edges = np.concatenate(edges, axis=1)
        difference = self.points_mm[self._edges[0]] - self.points_mm[self._edges[1]]
        self._edge_mm = np.sqrt((difference**2).sum(axis=1))

    @property
    def _per_mm(self) -> float:
        return COST_STEPS / self.spacing_mm.min()

    def _distance_mm(self, nodes: np.ndarray | Sequence[int]) -> np.ndarray:
        """Distance (N,) of each node to the nearest of ``nodes``; 1 when there is none."""
        if not len(nodes):
            return np.ones(len(self.nodes))
        return cKDTree(self.points_mm[nodes]).query(self.points_mm)[0]

    def _graph(self) -> csr_matrix:
        """Edges with integer costs; beside a stroke they cost more, so that the next runs apart."""
        cost = self.cost + WORN_COST * self._worn
        start, end = self._edges
        weight = np.rint(self._edge_mm * (cost[start] + cost[end]) / 2 * self._per_mm)
        shape = (len(self.nodes), len(self.nodes))
        return csr_matrix((np.maximum(weight, 1), (start, end)), shape)

    def _mark(self, nodes: Sequence[int]) -> None:
        self._drawn[nodes] = True
        apart_mm = APART * self.spacing_mm.min()
        beside = self._tree.query_ball_point(self.points_mm[nodes], apart_mm)
        self._worn[np.concatenate(beside).astype(np.intp)] = True

    def _best(
        self, candidates: np.ndarray, strokes: Sequence[int], rng: np.random.Generator
    ) -> int:
        """A random candidate, rather a cheap one far from ``strokes``."""
        away = self._distance_mm(strokes)[candidates]
        score = away * (0.3 + rng.random(len(candidates))) / self.cost[candidates]
        return int(candidates[np.argmax(np.rint(score * COST_STEPS))])

    def draw(self, length_mm: float, leg_mm: float, rng: np.random.Generator) -> np.ndarray:
        """Draw one stroke; return its voxels (N, D), at least one, all of them allowed."""
        earlier = np.flatnonzero(self._drawn).tolist()
        node = self._best(np.arange(len(self.nodes)), earlier, rng)
        path, legs, reached_mm = [node], [[node]], 0.0
        limit = 1.5 * leg_mm * self._per_mm
        while reached_mm < length_mm and len(legs) < LEGS:
            cost, before = dijkstra(
                self._graph(),
                directed=False,
                indices=node,
                return_predecessors=True,
                limit=limit,
            )
            cost[~np.isfinite(cost)] = -1
            if cost.max() <= 0:
                break
            candidates = np.flatnonzero(cost >= 0.6 * cost.max())
            # of this stroke, away from the last legs only: a closed loop goes on for another lap
            leg = [self._best(candidates, sum(legs[-RECENT_LEGS:], earlier), rng)]
            while before[leg[-1]] != node:
                leg.append(int(before[leg[-1]]))
            leg = leg[::-1]
            steps = np.diff(self.points_mm[[node, *leg]], axis=0)
            reached_mm += float(np.sqrt((steps**2).sum(axis=1)).sum())
            path += leg
            legs.append(leg)
            self._mark(leg)
            node = leg[-1]
        self._mark(path[:1])
        return self._voxels_of(self.nodes[path], length_mm)

    def _voxels_of(self, path: np.ndarray, length_mm: float) -> np.ndarray:
        """Voxels under the first ``length_mm`` of a path (N, D), after rounding its corners."""
        smooth = gaussian_filter1d(path.astype(float), 2, axis=0, mode="nearest")
        inside = self.allowed[tuple(_to_voxels(smooth).T)]
        points = np.where(inside[:, None], smooth, path)
        steps = np.sqrt(((np.diff(points, axis=0) * self.spacing_mm) ** 2).sum(axis=1))
        along = np.concatenate(([0.0], np.cumsum(steps)))
        end = min(length_mm, along[-1])
        count = 1 + math.ceil(round(end / (0.2 * self.spacing_mm.min()), 6))
        at = np.linspace(0, end, count)
        fine = np.stack([np.interp(at, along, axis) for axis in points.T], axis=1)
        voxels = _to_voxels(fine)
        return voxels[self.allowed[tuple(voxels.T)]]


def _to_voxels(points: np.ndarray) -> np.ndarray:
    return np.floor(np.rint(points * POSITION_STEPS) / POSITION_STEPS + 0.5).astype(np.intp)


def smooth_noise(points_mm: np.ndarray, scale_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Random values, mostly 0 to 1, at points (N, D), alike at points closer than the scale."""
    position = (points_mm - points_mm.min(axis=0)) / scale_mm
    # mirrored beyond 64 cells: a scale far below a component's size needs no larger table
    cells = np.minimum(np.ceil(position.max(axis=0)), 64).astype(int) + 2
    return np.abs(map_coordinates(rng.random(cells), position.T, order=2, mode="mirror"))
