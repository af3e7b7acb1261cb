"""Plans for machines without a GPU, derived from real ones of the planner."""

import json
import math

import pytest
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_pclmix import cli
from nnunetv2_pclmix.commands import machine
from nnunetv2_pclmix.commands import small_plans as small_plans_module
from nnunetv2_pclmix.commands.plan_sizes import Choice, Sizes, training_seconds
from nnunetv2_pclmix.commands.small_plans import choose, small_plans
from tests.conftest import DATASET


@pytest.fixture
def plans(nnunet):
    return json.loads((nnunet / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json").read_text())


def test_nnunet_builds_the_smaller_network(plans):
    small = small_plans(plans, "tiny", "2d", (16, 24), 3, (4, 8, 8))
    configuration = PlansManager(small).get_configuration("2d")
    assert configuration.patch_size == [16, 24]
    assert configuration.batch_size == 3
    assert configuration.data_identifier == plans["configurations"]["2d"]["data_identifier"]
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        3,
    )
    assert list(network.encoder.output_channels) == [4, 8, 8]
    assert plans["configurations"]["2d"]["batch_size"] == 4  # what was given is untouched


def test_another_spacing_needs_data_of_its_own(plans):
    small = small_plans(plans, "coarse", "2d", (16, 16), 3, (4, 8, 8), (2.0, 2.0))
    assert small["configurations"]["2d"]["spacing"] == [2.0, 2.0]
    assert small["configurations"]["2d"]["data_identifier"] == "coarse_2d"


def test_a_stage_that_is_not_kept_is_not_asked_for(plans):
    """nnU-Net predicts for the next stage when a training has ended."""
    plans["configurations"]["2d"].update(next_stage="cascade", previous_stage="lowres")
    small = small_plans(plans, "tiny", "2d", (16, 16), 3, (4, 8, 8))
    configuration = PlansManager(small).get_configuration("2d")
    assert configuration.next_stage_names is None
    assert configuration.previous_stage_name is None


def test_given_sizes_are_looked_at_before_the_others_are_chosen(plans):
    plans["configurations"]["cascade"] = {"inherits_from": "2d"}
    for configuration, given, message in (
        ("cascade", {}, "cascade inherits from another configuration: name that one"),
        ("2d", {"spacing": (0.0, 0.0)}, "above 0"),
        ("2d", {"spacing": (3.0,)}, "2d has 2 axes: give 2 numbers as spacing"),
        ("2d", {"patch": (16, 128, 128)}, "2d has 2 axes: give 2 numbers as patch"),
    ):
        with pytest.raises(ValueError, match=message):
            choose(plans, configuration, {}, given, 30, 8.0, "cpu", "nnUNetTrainerPCLMix")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"configuration": "3d"}, "no configuration 3d, only 2d"),
        ({"features": (4,)}, "1 features given, the plans allow 3 to 3"),
        ({"features": (4, 4, 4, 4)}, "4 features"),
        ({"patch": (16, 16, 16)}, "2d has 2 axes"),
        ({"patch": (16, 15)}, r"patch \[16, 15\]: axis 1 must be a multiple of 4"),
        ({"spacing": (1.0,)}, "2d has 2 axes"),
        ({"batch": 0}, "above 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(plans, change, message):
    plans["configurations"] = {"2d": plans["configurations"]["2d"]}
    options = {"configuration": "2d", "patch": (16, 16), "batch": 2, "features": (4, 8, 8)}
    with pytest.raises(ValueError, match=message):
        small_plans(plans, "tiny", **{**options, **change})


def test_command_line(nnunet, capsys):
    sizes = "--patch 16 16 --batch 2 --features 4 8 8".split()
    assert cli.main(["small-plans", "901", "--device", "cuda", *sizes]) == 0
    folder = nnunet / "nnUNet_preprocessed" / DATASET
    assert json.loads((folder / "nnUNetPlans_small.json").read_text())["plans_name"]
    out = capsys.readouterr().out
    assert "nothing was measured" in out and "nnUNetTrainerPCLMix trains 1000 epochs" in out
    assert "shorter: nnUNetTrainerPCLMix_5epochs, nnUNetTrainerPCLMix_20epochs" in out
    assert out.endswith("-tr nnUNetTrainerPCLMix\n")
    on_cpu = ["small-plans", "901", *sizes, "--device", "cpu", "--trainer"]
    for name in ("nnUNetTrainerStrokeSupport", "nnUNetTrainerStrokeSupport_20epochs"):
        assert cli.main([*on_cpu, name]) == 0
        taken = name if name.endswith("epochs") else f"{name}_5epochs"
        assert capsys.readouterr().out.endswith(f"-tr {taken} -device cpu\n")
    assert cli.main(["small-plans", "901", "--plans", "other", *sizes]) == 1
    assert "plan_and_preprocess" in capsys.readouterr().err
    assert cli.main(["small-plans", "901", "--name", "nnUNetPlans", *sizes]) == 1
    assert "is what the plans are made from" in capsys.readouterr().err
    assert cli.main(["small-plans", "902", *sizes]) == 1
    again = ["small-plans", "901", "--spacing", "2", "2", *sizes]
    assert cli.main(again) == 1
    assert "holds other plans" in capsys.readouterr().err
    assert cli.main([*again, "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert "scribble_tools check 901 --plans nnUNetPlans_small  # what" in printed
    assert "nnUNetv2_preprocess -d 901" in printed


@pytest.fixture
def measured(monkeypatch):
    """A machine that takes a millisecond per thousand voxels of a batch."""

    def seconds(plans, configuration, *_):
        sizes = plans["configurations"][configuration]
        return 1e-6 * sizes["batch_size"] * math.prod(sizes["patch_size"])

    monkeypatch.setattr("nnunetv2_pclmix.commands.machine.seconds_per_iteration", seconds)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 9.0, 9.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)


def test_without_sizes_they_are_chosen_and_a_trainer_with_them(nnunet, capsys, measured):
    folder = nnunet / "nnUNet_preprocessed" / DATASET
    command = ["small-plans", "901", "--device", "cpu"]
    assert cli.main([*command, "--minutes", "60"]) == 0
    small = json.loads((folder / "nnUNetPlans_small.json").read_text())["configurations"]["2d"]
    assert small["patch_size"] == [48, 48]  # the whole image
    assert small["data_identifier"] == "nnUNetPlans_2d"  # at the planned spacing
    seen = capsys.readouterr()
    assert "for 60 minutes on cpu" in seen.out and "all of an image of 48 x 48 mm" in seen.out
    assert "-p nnUNetPlans_small -tr nnUNetTrainerPCLMix_250epochs -device cpu" in seen.out
    assert "nnUNetv2_preprocess" not in seen.out and "WARNING" not in seen.err
    assert cli.main([*command, "--minutes", "0.1", "--overwrite"]) == 0
    seen = capsys.readouterr()
    assert "nnUNetTrainerPCLMix_5epochs" in seen.out and "more than 0.1 minutes" in seen.out
    faster = ["--trainer", "nnUNetTrainerStrokeSupport"]
    assert " ".join(faster) in seen.out
    assert cli.main([*command, "--minutes", "0.1", "--overwrite", *faster]) == 0
    seen = capsys.readouterr()
    assert "nnUNetTrainerStrokeSupport_5epochs" in seen.out and "faster" not in seen.out


def test_other_programs_at_work_are_said_to_spoil_what_is_measured(
    nnunet, capsys, measured, monkeypatch
):
    command = ["small-plans", "901", "--device", "cpu", "--overwrite"]
    monkeypatch.setattr("os.getloadavg", lambda: (1.3, 0.0, 0.0))
    monkeypatch.setattr(machine, "_busy_now", lambda most: False)  # they have just ended
    assert cli.main(command) == 0
    assert "WARNING" not in capsys.readouterr().err
    monkeypatch.setattr(machine, "_busy_now", lambda most: most == 1)
    assert cli.main(command) == 0
    assert "other programs are at work here (load 1.3 on 4 cores)" in capsys.readouterr().err

    def unknown():
        raise OSError("not known")

    monkeypatch.setattr("os.getloadavg", unknown)
    assert cli.main(command) == 0
    monkeypatch.delattr("os.getloadavg")  # as on Windows
    assert cli.main(command) == 0
    assert "WARNING" not in capsys.readouterr().err


def test_what_is_hardly_more_than_the_time_is_about_the_time():
    sizes = Sizes((1.0, 1.0), (96, 96), 4, (16, 32, 64))
    for seconds, warned in ((1.0, False), (1.02, False), (1.2, True)):
        whole = training_seconds(1.0, 5) / 60
        choice = Choice(sizes, seconds, 1.0, 5, fits=seconds <= 1)
        text = small_plans_module._estimate(choice, whole, "nnUNetTrainerPCLMix_5epochs", {})
        assert ("WARNING" in text) == warned


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ("", "--minutes {}; a faster method (--trainer nnUNetTrainerStrokeSupport); smaller"),
        (
            "--trainer nnUNetTrainerStrokeSupport",
            "--minutes {}; smaller sizes of your own (--spacing with --patch, --batch",
        ),
        (
            "--trainer nnUNetTrainerStrokeSupport --spacing 2 2",
            "--minutes {}; smaller sizes of your own (--patch, --batch",
        ),
        ("--trainer nnUNetTrainerPCLMix_noMix", "--minutes {}; a faster method"),
        (
            "--trainer nnUNetTrainerStrokeSupport_250epochs",
            "--minutes {}; a shorter training (--trainer nnUNetTrainerStrokeSupport_5epochs), ",
        ),
        ("--patch 48 48 --batch 6", "--minutes {}; a faster method"),
        (
            "--trainer nnUNetTrainerStrokeSupport --patch 48 48 --features 8 16 32",
            "--minutes {}; smaller sizes of your own (--batch 2); a GPU",
        ),
    ],
)
def test_where_nothing_fits_the_minutes_that_are_said_are_enough(
    nnunet, capsys, measured, options, ways
):
    command = ["small-plans", "901", "--device", "cpu", "--overwrite", *options.split()]
    assert cli.main([*command, "--minutes", "1e-3"]) == 0
    said = capsys.readouterr().out
    minutes = said.partition("--minutes ")[2].partition(";")[0]
    assert f"Ways out: {ways.format(minutes)}" in said
    assert cli.main([*command, "--minutes", minutes]) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_of_shorter_trainings_the_longest_that_fits_is_named():
    sizes = Sizes((1.0, 1.0), (96, 96), 4, (16, 32, 64))
    choice = Choice(sizes, 1.0, 1.0, 250, fits=False)
    text = small_plans_module._estimate(choice, 500.0, "nnUNetTrainerPCLMix_250epochs", {})
    assert "(--trainer nnUNetTrainerPCLMix_100epochs), about 7.4 hours" in text


@pytest.mark.parametrize("option", ["--minutes", "--memory"])
@pytest.mark.parametrize("value", ["0", "-5", "nan", "inf", "half"])
def test_no_time_and_no_memory_are_refused(option, value, capsys):
    with pytest.raises(SystemExit):
        cli.main(["small-plans", "901", f"{option}={value}"])
    assert f"argument {option}: '{value}' is no number above 0" in capsys.readouterr().err


def test_one_minute_is_no_minutes():
    sizes = Sizes((1.0, 1.0), (96, 96), 4, (16, 32, 64))
    for minutes, words in ((1.0, "more than 1 minute, "), (1.5, "more than 1.5 minutes, ")):
        choice = Choice(sizes, 1.0, 1.0, 5, fits=False)
        text = small_plans_module._estimate(choice, minutes, "nnUNetTrainerPCLMix_5epochs", {})
        assert words in text


def test_who_wants_to_compute_now_is_seen_where_the_system_tells(monkeypatch):
    monkeypatch.setattr(machine, "BETWEEN_LOOKS", 0)
    for running, busy in ((1, False), (2, False), (3, True)):
        monkeypatch.setattr(machine.Path, "read_text", lambda _, n=running: f"9 9 9 {n}/100 7\n")
        assert machine._busy_now(1) == busy
    monkeypatch.setattr(machine.Path, "read_text", lambda _: "9 9 9")
    assert machine._busy_now(1)


def test_a_trainer_that_is_not_there_is_refused_before_anything_is_measured(
    nnunet, capsys, measured
):
    assert cli.main(["small-plans", "901", "--trainer", "nnUNetTrainerPCLMx"]) == 1
    seen = capsys.readouterr()
    assert "--trainer nnUNetTrainerPCLMx: there is no such trainer" in seen.err and not seen.out
    assert "Is it nnUNetTrainerPCLMix" in seen.err
    assert cli.main(["small-plans", "901", "--trainer", "StrokeSupport"]) == 1
    assert "Is it nnUNetTrainerStrokeSupport?" in capsys.readouterr().err
    assert cli.main(["small-plans", "901", "--trainer", "nothing"]) == 1
    assert capsys.readouterr().err.endswith("no such trainer (see docs/method.md)\n")


def test_plans_of_pictures_speak_of_pixels(nnunet, capsys, measured):
    path = nnunet / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    plans = json.loads(path.read_text()) | {"image_reader_writer": "NaturalImage2DIO"}
    path.write_text(json.dumps(plans))
    assert cli.main(["small-plans", "901", "--patch", "16", "16", "--device", "cpu"]) == 0
    seen = capsys.readouterr()
    assert "a patch of 16 x 16 px shows 11% of an image of 48 x 48 px" in seen.err
    assert "spacing 1 x 1 px, patch 16 x 16 voxels (16 x 16 px: " in seen.out
    assert " mm" not in seen.out + seen.err


def test_some_sizes_may_be_given_and_little_cover_is_warned_of(nnunet, capsys, measured):
    folder = nnunet / "nnUNet_preprocessed" / DATASET
    assert cli.main(["small-plans", "901", "--patch", "16", "16"]) == 0
    small = json.loads((folder / "nnUNetPlans_small.json").read_text())["configurations"]["2d"]
    assert small["patch_size"] == [16, 16]
    assert "WARNING: a patch of 16 x 16 mm shows 11%" in capsys.readouterr().err
    assert cli.main(["small-plans", "901", "--spacing", "2", "2", "--overwrite"]) == 0
    assert "nnUNetv2_preprocess -d 901" in capsys.readouterr().out
    small = json.loads((folder / "nnUNetPlans_small.json").read_text())["configurations"]["2d"]
    assert (small["patch_size"], small["spacing"]) == ([24, 24], [2.0, 2.0])
    for wrong in (["--trainer", "x"], ["--configuration", "4d"], ["--memory", "0.5"]):
        assert cli.main(["small-plans", "901", *wrong, "--overwrite"]) == 1
        assert capsys.readouterr().err.startswith("nnunetv2_pclmix small-plans: error: ")
