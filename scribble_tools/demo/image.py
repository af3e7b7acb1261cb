"""A cine-MRI-like picture around a synthetic heart: body, lungs, fat, vessels and look-alikes.

Look-alikes are what makes a network that has only seen scribbles near the heart go wrong: bright
discs with a darker ring (as aorta, stomach or kidney) and crescents, placed away from the heart.
Intensities are relative: blood is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from scribble_tools.demo.heart import HEART_MARGIN_MM, LABELS, Heart, HeartSlice, Wave


@dataclass(frozen=True)
class Blob:
    """A disc with a ring, or a crescent, that runs obliquely through some of the slices."""

    centre_mm: tuple[float, float]
    drift_mm: tuple[float, float]
    radius_mm: float
    ring_mm: float
    crescent: bool
    angle: float
    brightness: float
    ring_brightness: float
    slices: tuple[float, float]  # first and last relative slice position
    roughness: float  # how far from round, relative to the radius
    shape: Wave

    @classmethod
    def draw_organ(cls, rng: np.random.Generator, half_mm: tuple[float, float]) -> Blob:
        """Something large and rather dark: mediastinum, spleen, stomach, back muscles."""
        return cls(
            centre_mm=tuple(rng.uniform(-0.9, 0.9) * half for half in half_mm),
            drift_mm=tuple(rng.uniform(-20, 20, 2)),
            radius_mm=rng.uniform(12, 34),
            ring_mm=rng.choice([0.0, rng.uniform(1, 3)]),
            crescent=False,
            angle=0.0,
            brightness=rng.uniform(0.15, 0.6),
            ring_brightness=rng.choice([0.2, 0.7]),
            slices=(rng.uniform(-0.5, 0.5), rng.uniform(0.5, 1.5)),
            roughness=0.35,
            shape=Wave.draw(rng),
        )

    @classmethod
    def draw_look_alike(
        cls, rng: np.random.Generator, half_mm: tuple[float, float], wall: float
    ) -> Blob:
        """Bright as blood with a ring like myocardium, or a crescent like the RV."""
        return cls(
            centre_mm=tuple(rng.uniform(-0.7, 0.7) * half for half in half_mm),
            drift_mm=tuple(rng.uniform(-8, 8, 2)),
            radius_mm=rng.uniform(7, 16),
            ring_mm=rng.uniform(3, 8),
            crescent=rng.random() < 0.4,
            angle=rng.uniform(0, 2 * np.pi),
            brightness=rng.uniform(0.8, 1.1),
            ring_brightness=wall,
            slices=(rng.uniform(-0.6, 0.4), rng.uniform(0.6, 1.6)),
            roughness=0.1,
            shape=Wave.draw(rng),
        )

    def is_clear_of(self, heart: Heart, gap_mm: float = 15.0) -> bool:
        """Whether it stays away from the heart and from the background scribble around it."""
        size = 2 * self.radius_mm if self.crescent else 1.1 * self.radius_mm + self.ring_mm
        for position in np.linspace(0, 1, 6):
            cut = HeartSlice(heart, position)
            y, x = (c + d * position for c, d in zip(self.centre_mm, self.drift_mm, strict=True))
            angle, distance = cut.polar(np.array(y), np.array(x))
            towards = angle + np.linspace(-0.5, 0.5, 9)
            if distance < np.max(cut.radii_mm(towards)[2]) + size + gap_mm:
                return False
        return True

    def paint(self, image: np.ndarray, position: float, y: np.ndarray, x: np.ndarray) -> None:
        """Paint into one slice; ``y`` and ``x`` in mm from the image centre, (rows, columns)."""
        if not self.slices[0] <= position <= self.slices[1]:
            return
        (c_y, c_x), (d_y, d_x) = self.centre_mm, self.drift_mm
        y, x = y - c_y - d_y * position, x - c_x - d_x * position
        theta, radius = np.arctan2(y, x), np.hypot(y, x)
        edge = self.radius_mm * (1 + self.roughness * self.shape(theta, position))
        if self.crescent:
            away = np.abs((theta - self.angle + np.pi) % (2 * np.pi) - np.pi)
            arc = np.cos(np.pi / 2 * np.minimum(away / 1.2, 1)) ** 0.7
            image[(radius > edge) & (radius < edge + 0.9 * self.radius_mm * arc)] = self.brightness
            return
        image[radius < edge + self.ring_mm] = self.ring_brightness
        image[radius < edge] = self.brightness


@dataclass(frozen=True)
class Scene:
    """Everything of a patient but the heart; the same in both phases."""

    body: Wave
    body_size: tuple[float, float]  # half axes (y, x) relative to the half extent
    fat_mm: float
    muscle_mm: float
    diaphragm: float  # height of the liver's dome at the apex, relative to the half extent
    liver_side: float
    blobs: tuple[Blob, ...]  # painted in this order
    vessels: np.ndarray  # (N, 4): y and x relative to the half extent, radius in mm, brightness
    tissue: dict[str, float]
    bias: np.ndarray  # (4,) of a smooth multiplicative field
    noise: float
    texture_seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, half_mm: tuple[float, float], heart: Heart) -> Scene:
        """Draw the surroundings of ``heart``, given as it is when widest."""
        vessels, wall = 60, rng.uniform(0.26, 0.42)
        organs = [Blob.draw_organ(rng, half_mm) for _ in range(rng.integers(6, 11))]
        candidates = (Blob.draw_look_alike(rng, half_mm, wall) for _ in range(200))
        clear = [blob for blob in candidates if blob.is_clear_of(heart)]
        return cls(
            body=Wave.draw(rng),
            body_size=tuple(rng.uniform((0.85, 0.95), (1.05, 1.35))),
            fat_mm=rng.uniform(5, 18),
            muscle_mm=rng.uniform(6, 12),
            diaphragm=rng.uniform(-0.05, 0.35),
            liver_side=rng.uniform(-1, 1),
            blobs=(*organs, *clear[: rng.integers(5, 10)]),
            vessels=np.column_stack(
                (
                    rng.uniform(-1, 1, (vessels, 2)),
                    rng.uniform(0.8, 3.2, vessels),
                    rng.uniform(0.3, 0.9, vessels),
                )
            ),
            tissue={
                "air": 0.01,
                "lung": rng.uniform(0.06, 0.12),
                "muscle": rng.uniform(0.22, 0.34),
                "liver": rng.uniform(0.22, 0.42),
                "myocardium": wall,
                "fat": rng.uniform(0.9, 1.4),
                "blood": 1.0,
                "rv_blood": rng.uniform(0.85, 1.05),
            },
            bias=rng.uniform(-0.35, 0.35, 4),
            noise=rng.uniform(0.025, 0.05),
            texture_seed=int(rng.integers(2**31)),
        )


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Noise of unit variance, smooth over ``sigma`` pixels."""
    noise = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return noise / noise.std()


def _paint_body(
    scene: Scene, position: float, y: np.ndarray, x: np.ndarray, half_mm: tuple[float, float]
) -> np.ndarray:
    """Air, fat, muscle with ribs, lungs with vessels, liver, organs and look-alikes."""
    tissue, (half_y, half_x) = scene.tissue, half_mm
    image = np.full(y.shape, tissue["lung"])
    # the liver's dome rises into the picture from base to apex
    dome = half_y * (0.95 - (0.95 - scene.diaphragm) * position)
    image[y > dome + 0.35 * half_y * (x / half_x - scene.liver_side) ** 2] = tissue["liver"]
    for blob in scene.blobs:
        blob.paint(image, position, y, x)
    for v_y, v_x, v_radius, brightness in scene.vessels:
        near = np.hypot(y - v_y * half_y, x - v_x * half_x - 6 * position) < v_radius
        image[near] = np.maximum(image[near], brightness)
    y, x = y / scene.body_size[0], x / scene.body_size[1]
    theta, radius = np.arctan2(y / half_y, x / half_x), np.hypot(y / half_y, x / half_x)
    # depth below the skin, in mm along the shorter half axis
    depth = (1.0 + 0.08 * scene.body(theta) - radius) * min(half_mm)
    fat = scene.fat_mm * (1 + 0.4 * scene.body(2 * theta))
    image[depth < fat + scene.muscle_mm] = tissue["muscle"]
    inside_wall = np.abs(depth - fat - 0.45 * scene.muscle_mm) < 0.2 * scene.muscle_mm
    image[inside_wall & (np.cos(9 * theta + 3 * position) > 0.2)] = 0.5 * tissue["fat"]
    image[depth < fat] = tissue["fat"]
    image[depth < 0] = tissue["air"]
    return image


def _paint_heart(
    image: np.ndarray, scene: Scene, cut: HeartSlice, y: np.ndarray, x: np.ndarray
) -> None:
    """Ventricles, papillary muscles (LV in the labels, as in ACDC), thin wall and fat around."""
    tissue = scene.tissue
    theta, radius = cut.polar(y, x)
    endo, epi, rv = cut.radii_mm(theta)
    rim = np.maximum(epi, rv) + HEART_MARGIN_MM
    fat = rim + 2.5 * np.maximum(scene.body(3 * theta, cut.position), 0)
    image[radius < fat] = 0.8 * tissue["fat"]
    image[radius < rim] = tissue["muscle"]
    labels = cut.labels(y, x)
    image[labels == LABELS["RV"]] = tissue["rv_blood"]
    image[labels == LABELS["MYO"]] = tissue["myocardium"]
    image[labels == LABELS["LV"]] = tissue["blood"]
    if 0.15 < cut.position < 0.8:
        for angle in (0.9, 3.9):
            p_theta = cut.heart.rv_angle + angle + 0.4 * cut.position
            p_radius = 0.68 * float(cut.radii_mm(np.array(p_theta))[0])
            c_y, c_x = cut.centre_mm
            size = 0.16 * cut.heart.lv_radius_mm
            spot = np.hypot(
                y - c_y - p_radius * np.sin(p_theta), x - c_x - p_radius * np.cos(p_theta)
            )
            image[(spot < size) & (radius < endo)] = 1.2 * tissue["myocardium"]


def render(
    scene: Scene,
    heart: Heart,
    grid_mm: tuple[np.ndarray, np.ndarray],
    slices: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Paint a volume (slices, rows, columns), int16.

    Args:
        grid_mm: y and x of every pixel from the image centre, each (rows, columns).
        rng: of the noise, so that two phases of a patient differ in it.
    """
    y, x = grid_mm
    half = (float(np.abs(y).max()), float(np.abs(x).max()))
    b = scene.bias
    field = np.exp(b[0] * y / half[0] + b[1] * x / half[1] + b[2] * (y * x) / (half[0] * half[1]))
    volume = np.empty((slices, *y.shape))
    for z, position in enumerate(np.linspace(0, 1, slices)):
        texture = np.random.default_rng((scene.texture_seed, z))
        image = _paint_body(scene, position, y, x, half)
        _paint_heart(image, scene, HeartSlice(heart, position), y, x)
        fine, coarse = (_smooth_noise(texture, y.shape, sigma) for sigma in (1.2, 6))
        image *= 1 + 0.1 * fine + 0.13 * coarse
        image = gaussian_filter(image, 0.6) * field * rng.uniform(0.93, 1.07)
        real, imaginary = rng.normal(0, scene.noise, (2, *y.shape))
        volume[z] = np.hypot(image + real, imaginary)  # Rician, as magnitude MRI
    return np.round(300 * volume).clip(0, 32767).astype(np.int16)
