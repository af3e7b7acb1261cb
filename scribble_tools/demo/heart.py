"""Synthetic short-axis hearts: shape, dense labels and where a hand would draw its scribbles.

Every slice is described in polar coordinates around the centre of the left ventricle (LV): at
angle theta the blood pool ends at radius endo(theta), the myocardium (MYO) at epi(theta), the right
ventricle (RV), a crescent on one side, at rv(theta) >= epi(theta). All lengths are in mm, slice
positions are relative: 0 is the base, 1 the apex.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

LABELS = {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "ignore": 4}
HEART_MARGIN_MM = 3.0  # thin RV wall and pericardium, background in the labels


@dataclass(frozen=True)
class Wave:
    """A smooth random function of an angle with values mostly between -1 and 1."""

    amplitudes: np.ndarray  # (K,) of the harmonics 1..K
    phases: np.ndarray  # (K,)

    @classmethod
    def draw(cls, rng: np.random.Generator, harmonics: int = 4) -> Wave:
        """Draw a wave; higher harmonics are weaker, for smooth outlines."""
        order = np.arange(1, harmonics + 1)
        return cls(rng.normal(0, 0.6, harmonics) / order, rng.uniform(0, 2 * np.pi, harmonics))

    def __call__(self, theta: np.ndarray, turn: float = 0.0) -> np.ndarray:
        """Values at ``theta`` (any shape); ``turn`` shifts the phases, for slow change along z."""
        total = np.zeros_like(theta)
        for k, (amplitude, phase) in enumerate(
            zip(self.amplitudes, self.phases, strict=True), start=1
        ):
            total += amplitude * np.cos(k * theta + phase + turn)
        return total


@dataclass(frozen=True)
class Heart:
    """Shape of one heart in one phase of its beat."""

    centre_mm: tuple[float, float]  # (y, x) of the LV at the base, from the image centre
    drift_mm: tuple[float, float]  # (y, x) by which the apex lies elsewhere
    lv_radius_mm: float
    wall_mm: float
    rv_depth_mm: float
    rv_angle: float
    rv_half_span: float
    rv_end: float  # relative slice position below which there is no RV
    shape: Wave
    rv_shape: Wave

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Heart:
        """Draw a heart at end-diastole, large or small, thick or thin, turned either way."""
        return cls(
            centre_mm=(rng.uniform(-22, 12), rng.uniform(-12, 24)),
            drift_mm=(rng.uniform(-4, 8), rng.uniform(-4, 14)),
            lv_radius_mm=rng.uniform(19, 28),
            wall_mm=rng.uniform(6.5, 11),
            rv_depth_mm=rng.uniform(19, 32),
            rv_angle=np.pi + rng.uniform(-0.8, 0.8),
            rv_half_span=rng.uniform(0.95, 1.3),
            rv_end=rng.uniform(0.78, 0.98),
            shape=Wave.draw(rng),
            rv_shape=Wave.draw(rng),
        )

    def contracted(self, rng: np.random.Generator) -> Heart:
        """The same heart at end-systole: smaller cavities, thicker wall."""
        return replace(
            self,
            lv_radius_mm=self.lv_radius_mm * rng.uniform(0.62, 0.85),
            wall_mm=self.wall_mm * rng.uniform(1.2, 1.5),
            rv_depth_mm=self.rv_depth_mm * rng.uniform(0.6, 0.85),
            rv_end=self.rv_end - rng.uniform(0, 0.12),
        )


@dataclass(frozen=True)
class HeartSlice:
    """One cross-section of a heart at a relative position between base (0) and apex (1)."""

    heart: Heart
    position: float

    @property
    def centre_mm(self) -> tuple[float, float]:
        """Centre of the LV in this slice, (y, x) from the image centre."""
        (y, x), (dy, dx) = self.heart.centre_mm, self.heart.drift_mm
        return y + dy * self.position, x + dx * self.position

    def polar(self, y_mm: np.ndarray, x_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Angle and radius of points given from the image centre."""
        y, x = y_mm - self.centre_mm[0], x_mm - self.centre_mm[1]
        return np.arctan2(y, x), np.hypot(y, x)

    def radii_mm(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """endo, epi and rv at the angles ``theta``; rv equals epi where there is no RV."""
        heart, t = self.heart, self.position
        turn = 0.8 * t
        endo = (
            heart.lv_radius_mm * np.sqrt(1 - (0.93 * t) ** 2) * (1 + 0.1 * heart.shape(theta, turn))
        )
        wall = heart.wall_mm * (1 - 0.25 * t) * (1 + 0.18 * heart.rv_shape(theta, turn))
        epi = endo + np.maximum(wall, 0.6 * heart.wall_mm)
        away = np.abs((theta - heart.rv_angle + np.pi) % (2 * np.pi) - np.pi)
        span = heart.rv_half_span * (1 - 0.35 * t)
        crescent = np.cos(np.pi / 2 * np.minimum(away / span, 1)) ** 0.7
        depth = heart.rv_depth_mm * max(0.0, 1 - (t / heart.rv_end) ** 2)
        return endo, epi, epi + depth * crescent * (1 + 0.18 * heart.rv_shape(theta, -turn))

    def labels(self, y_mm: np.ndarray, x_mm: np.ndarray) -> np.ndarray:
        """Dense labels (uint8) at points given from the image centre, any shape."""
        theta, radius = self.polar(y_mm, x_mm)
        endo, epi, rv = self.radii_mm(theta)
        has_rv = rv - epi > 2.5  # thinner than that nobody would outline it
        return np.select(
            [radius < endo, radius < epi, (radius < rv) & has_rv],
            [LABELS["LV"], LABELS["MYO"], LABELS["RV"]],
            LABELS["background"],
        ).astype(np.uint8)

    def stroke_mm(self, label: str, rng: np.random.Generator) -> np.ndarray:
        """A hand-drawn line through class ``label``: points (N, 2) as (y, x) from the image centre.

        Loops inside LV, along the middle of MYO and around the heart for the background; an arc
        along the crescent for RV. Points may fall outside the class where it is thin.
        """
        start = rng.uniform(0, 2 * np.pi)
        theta = start + np.linspace(0, 2 * np.pi, 2000)
        if label == "RV":
            reach = 0.72 * self.heart.rv_half_span * (1 - 0.35 * self.position)
            theta = self.heart.rv_angle + np.linspace(-reach, reach, 2000) * rng.choice([-1, 1])
        hand = Wave.draw(rng, harmonics=5)(theta)
        endo, epi, rv = self.radii_mm(theta)
        if label == "LV":
            radius = endo * np.clip(rng.uniform(0.4, 0.6) + 0.15 * hand, 0.15, 0.85)
        elif label == "MYO":
            radius = endo + (epi - endo) * np.clip(0.5 + 0.15 * hand, 0.25, 0.75)
        elif label == "RV":
            radius = epi + (rv - epi) * np.clip(0.5 + 0.2 * hand, 0.2, 0.8)
        else:
            outside = np.maximum(epi, rv) + rng.uniform(7, 11) + 2.5 * np.clip(hand, -1, 1)
            radius = gaussian_filter1d(outside, 60, mode="wrap")
        y, x = self.centre_mm
        return np.stack((y + radius * np.sin(theta), x + radius * np.cos(theta)), axis=1)
