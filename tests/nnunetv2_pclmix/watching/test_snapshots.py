"""Pictures of a training step: the right samples, slices and maps, drawn for every kind of data."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnunetv2_pclmix.method.dual_consistency import pseudo_labels
from nnunetv2_pclmix.method.dynamic_mix import PreviousBatch, draw_mix
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.stroke_support import stroke_support
from nnunetv2_pclmix.watching.pictures import TrainingPictures
from nnunetv2_pclmix.watching.snapshot_picture import FOLDER, draw_snapshot, snapshot_figure
from nnunetv2_pclmix.watching.snapshots import ROWS, Snapshot
from scribble_tools.draw.contact_sheet import colour_of

K = 3
CLASSES = ["background", "left", "right"]
FIRST = ["image", "scribble", "main decoder", "auxiliary decoder", "uncertainty", "certainty label"]
MIXED = ["mixed image", "mixed scribble", "mixed pseudo label"]


def random_step(batch=4, shape=(24, 32), channels=1, auxiliary=True, regions=False):
    """Images, scribble and output; sample k has 20 (k + 1) annotated voxels."""
    images = torch.randn(batch, channels, *shape)
    scribble = torch.full((batch, 1, *shape), K)
    for sample in range(batch):
        place = torch.randperm(scribble[0].numel())[: 20 * (sample + 1)]
        scribble[sample].view(-1)[place] = torch.randint(0, K, (len(place),))
    number = K
    if regions:
        scribble = torch.cat([(scribble == k) for k in (1, 2, K)], 1).to(torch.int16)
        number = K - 1
    logits = [3 * torch.randn(batch, number, *shape) for _ in range(2)]
    output = TrainingOutput(logits[:1], logits[1] if auxiliary else None, None)
    return images, scribble, output


def taken(
    labels, images, scribble, output, threshold=0.4, mixing=True, cases=None, supported=False
):
    """A snapshot of a whole step, made as the trainer does, and its mix."""
    snapshot, mix = Snapshot(labels), None
    support = stroke_support(labels, output.main[0], scribble) if supported else None
    predicted = pseudo_labels(labels, output.main[0], output.auxiliary, scribble, support)
    snapshot.take(images, scribble, output, threshold, cases, support)
    if mixing:
        sources = [images, scribble, *predicted]
        alone = len(images) == 1
        if alone:
            earlier = PreviousBatch()
            earlier([x.flip(-1) for x in sources])
            sources = earlier(sources)
        mix = draw_mix(len(images), images.shape[2:], 0.2, with_previous=alone)
        i, s, main, auxiliary = sources
        snapshot.take_mixed(mix, mix(i), mix(s), mix(main, auxiliary))
    return snapshot, mix


def maps(snapshot):
    return {column.title: column.maps for column in snapshot.columns}


def test_samples_with_most_annotation_and_all_that_was_made_of_them():
    labels = ExclusiveLabels(K)
    images, scribble, output = random_step(batch=5)
    cases = [f"case{k}" for k in range(5)]
    snapshot, mix = taken(labels, images, scribble, output, cases=cases)
    assert snapshot.rows == ["case4", "case3", "case2"]
    shown, samples = maps(snapshot), [4, 3, 2]
    assert list(shown) == FIRST + MIXED
    assert torch.equal(torch.from_numpy(shown["image"]), images[samples, 0])
    assert torch.equal(torch.from_numpy(shown["scribble"]), scribble[samples, 0])
    main, auxiliary = output.main[0][samples], output.auxiliary[samples]
    assert torch.equal(torch.from_numpy(shown["main decoder"]), main.argmax(1))
    assert torch.equal(torch.from_numpy(shown["auxiliary decoder"]), auxiliary.argmax(1))
    p = (main.softmax(1) + auxiliary.softmax(1)) / 2
    entropy = -(p * p.log()).sum(1)
    np.testing.assert_allclose(shown["uncertainty"], entropy, rtol=1e-4, atol=1e-6)
    assert snapshot.largest_uncertainty == pytest.approx(np.log(K))
    certain = torch.where(entropy <= 0.4, p.argmax(1), K)
    certain = torch.where(scribble[samples, 0] != K, scribble[samples, 0], certain)
    assert torch.equal(torch.from_numpy(shown["certainty label"]), certain)
    # the mixed samples of the same rows: where they show their first source, it is that row's
    outline = snapshot.columns[-1].outline
    inside = torch.from_numpy(outline)
    assert inside.any() and not inside.all()
    for title, whole in (("mixed image", images[:, 0]), ("mixed scribble", scribble[:, 0])):
        mixed = torch.from_numpy(shown[title])
        assert torch.equal(mixed[inside], whole[samples][inside])
        others = whole[mix.second[samples]]
        assert torch.equal(mixed[~inside], others[~inside])
    mixed, strokes = torch.from_numpy(shown["mixed pseudo label"]), scribble[samples, 0]
    label = torch.where(strokes == K, main.argmax(1), strokes)
    assert torch.equal(mixed[inside], label[inside])


@pytest.mark.parametrize("regions", [False, True])
def test_the_background_that_strokes_imply_is_shown(regions):
    labels = Regions(2) if regions else ExclusiveLabels(K)
    images, scribble, output = random_step(regions=regions)
    output.main[0][:, :, :8] = -5.0  # predicts nothing there: nothing but strokes is foreground
    output.main[0][:, 0, :8] = -5.0 if regions else 5.0
    snapshot, _ = taken(labels, images, scribble, output, supported=True)
    shown = maps(snapshot)
    support = stroke_support(labels, output.main[0], scribble)
    implied = np.where(support.background[:, 0], 0, K)
    assert {0, K} == set(np.unique(shown["implied background"]))
    rows = [
        np.flatnonzero((shown["image"][k] == images[:, 0].numpy()).all((1, 2)))[0] for k in range(3)
    ]
    np.testing.assert_array_equal(shown["implied background"], implied[rows])
    assert K not in shown["mixed pseudo label"]  # what is unknown is not coloured
    classes = ["background", "a", "b"]
    assert snapshot_figure(snapshot, "title", classes, (1.0, 1.0)) is not None


def test_of_a_volume_the_slice_with_most_annotation():
    labels = ExclusiveLabels(K)
    images, scribble, output = random_step(batch=2, shape=(5, 16, 12))
    scribble.fill_(K)
    scribble[0, 0, 3, :4, :6] = 1
    scribble[0, 0, 1, 0, 0] = 2
    scribble[1, 0, 0, 2, :8] = 2
    snapshot, _ = taken(labels, images, scribble, output, cases=["a", "b"])
    assert snapshot.rows == ["a\nslice 3", "b\nslice 0"]
    shown = maps(snapshot)
    assert torch.equal(torch.from_numpy(shown["image"][0]), images[0, 0, 3])
    assert torch.equal(torch.from_numpy(shown["image"][1]), images[1, 0, 0])
    assert (shown["scribble"][0] == 1).sum() == 24
    assert {column.maps.shape for column in snapshot.columns} == {(2, 16, 12)}


def test_regions_are_shown_as_the_classes_that_they_make():
    images, scribble, output = random_step(regions=True)
    snapshot, _ = taken(Regions(K - 1), images, scribble, output)
    shown, samples = maps(snapshot), [3, 2, 1]
    expected = torch.where(output.main[0][:, 0] > 0, 1, 0)
    expected = torch.where(output.main[0][:, 1] > 0, 2, expected)[samples]
    assert torch.equal(torch.from_numpy(shown["main decoder"]), expected)
    assert set(np.unique(shown["scribble"])) == {0, 1, 2, K}
    assert snapshot.largest_uncertainty == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"auxiliary": False}, {"auxiliary decoder"}),
        ({"mixing": False}, set(MIXED)),
        ({"threshold": None}, {"certainty label"}),
    ],
)
def test_what_is_switched_off_has_no_column(options, gone):
    step = random_step(auxiliary=options.pop("auxiliary", True))
    snapshot, _ = taken(ExclusiveLabels(K), *step, **options)
    titles = [title for title in FIRST + MIXED if title not in gone]
    if "auxiliary decoder" in gone:
        titles[titles.index("main decoder")] = "prediction"
    assert [column.title for column in snapshot.columns] == titles
    snapshot_figure(snapshot, "title", CLASSES, (1, 1))


def test_a_batch_of_one_with_several_channels_in_float16():
    images, scribble, output = random_step(batch=1, channels=3)
    output = TrainingOutput([output.main[0].half()], output.auxiliary.half(), None)
    snapshot, mix = taken(ExclusiveLabels(K), images, scribble, output)
    assert snapshot.rows == ["sample 0\nchannel 0 of 3"]
    shown = maps(snapshot)
    inside = snapshot.columns[-1].outline[0]
    assert np.array_equal(shown["mixed image"][0][inside], images[0, 0].numpy()[inside])
    assert np.array_equal(shown["mixed image"][0][~inside], images[0, 0].flip(-1).numpy()[~inside])


def test_nothing_of_the_step_is_kept_but_small_copies():
    images, scribble, output = random_step(batch=6)
    output.main[0].requires_grad_()
    snapshot, _ = taken(ExclusiveLabels(K), images, scribble, output)
    assert all(isinstance(c.maps, np.ndarray) and len(c.maps) == ROWS for c in snapshot.columns)
    held = [v for v in vars(snapshot).values() if isinstance(v, torch.Tensor)]
    assert held == []


# ---------------------------------------------------------------- the picture


def has(picture, colour):
    return (np.abs(picture[..., :3] - np.asarray(colour)).max(-1) < 0.02).any()


@pytest.mark.parametrize("shape", [(32, 32), (16, 128), (128, 16), (4, 24, 40)])
def test_the_picture(tmp_path, shape):
    images, scribble, output = random_step(shape=shape, batch=2)
    snapshot, _ = taken(ExclusiveLabels(K), images, scribble, output)
    draw_snapshot(snapshot, 7, CLASSES, (1.0, 1.0), tmp_path)
    (path,) = (tmp_path / FOLDER).iterdir()
    assert path.name == "epoch_0007.png"
    picture = imread(path)
    for label in range(K):  # the strokes and the legend
        assert has(picture, to_rgb(colour_of(label)))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # nnU-Net's seaborn
        draw_snapshot(snapshot, 7, CLASSES, (1.0, 1.0), tmp_path)
    assert np.array_equal(imread(path), picture)


def test_words_of_the_picture():
    snapshot, _ = taken(ExclusiveLabels(K), *random_step(), cases=list("abcd"))
    figure = snapshot_figure(snapshot, "title", CLASSES, (1, 1))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"title", "d", "c", "b", *FIRST, *MIXED} <= set(words)
    assert "entropy, 0 to 1.10 nats\ncertain up to 0.40 (mark)" in words
    assert [text.get_text() for text in figure.legends[0].get_texts()] == CLASSES


def test_many_classes_have_a_short_legend():
    images, scribble, output = random_step()
    output = output._replace(main=[torch.randn(4, 60, 24, 32)], auxiliary=None)
    scribble = torch.where(scribble == K, 60, scribble)
    snapshot, _ = taken(ExclusiveLabels(60), images, scribble, output)
    figure = snapshot_figure(snapshot, "", [f"a long name {k}" for k in range(60)], (1, 1))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(words) == 25
    assert words[-1] == "and 36 more"


def test_anisotropic_pixels_are_drawn_in_proportion():
    snapshot, _ = taken(ExclusiveLabels(K), *random_step(shape=(24, 24)))
    left, right, bottom, top = (
        snapshot_figure(snapshot, "", CLASSES, (1, 2)).axes[0].images[0].get_extent()
    )
    assert (right - left) / (top - bottom) == pytest.approx(2)


def test_values_that_are_not_finite_can_be_drawn(tmp_path):
    images, scribble, output = random_step(batch=2)
    images[0, 0, :5] = torch.nan
    output.main[0][1] = torch.nan
    snapshot, _ = taken(ExclusiveLabels(K), images, scribble, output)
    draw_snapshot(snapshot, 0, CLASSES, (1, 1), tmp_path)
    assert list((tmp_path / FOLDER).iterdir())


# ---------------------------------------------------------------- a training goes on


def test_what_goes_wrong_is_said_once_and_raised_never(tmp_path, monkeypatch):
    said = []
    blocked = tmp_path / "file"
    blocked.write_text("")  # no folder, so nothing can be written there
    pictures = TrainingPictures(blocked, ExclusiveLabels(K), CLASSES, (5, 1, 1), said.append)
    for epoch in range(3):
        pictures.take(*random_step(), 0.4)
        pictures.take_mixed("nonsense")
        pictures.draw(epoch, {"pclmix_annotated": []})
    assert len(said) == 1
    assert said[0].startswith("WARNING: a picture cannot be drawn")


def test_a_snapshot_is_drawn_once(tmp_path):
    pictures = TrainingPictures(tmp_path, ExclusiveLabels(K), CLASSES, (5, 1, 1), print)
    for epoch in range(3):
        if epoch == 1:
            pictures.take(*random_step(), 0.4)
        pictures.draw(epoch, {})
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["epoch_0001.png"]
