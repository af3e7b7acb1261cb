"""What a report calls models and folders."""

import pytest

from scribble_tools.report.names import column_titles, model_in_words, model_of, names_of

OURS, STOCK = "nnUNetTrainerPCLMix__nnUNetPlans_tiny__2d", "nnUNetTrainer__nnUNetPlans_tiny__2d"


def test_columns_have_words_whatever_folders_are_called(tmp_path):
    fold = tmp_path / OURS / "fold_0" / "validation"
    assert column_titles([fold]) == ["prediction"]
    assert column_titles([fold, tmp_path / "stock" / "validation"]) == ["this model", "the other"]
    with pytest.raises(ValueError, match="given twice"):
        column_titles([fold, fold])


def test_models_are_named_in_words_and_folders_by_their_names(tmp_path):
    fold, other = (tmp_path / name / "fold_0" / "validation" for name in (OURS, STOCK))
    words = "nnUNetTrainerPCLMix, plans nnUNetPlans_tiny, 2d"
    assert model_in_words(OURS) == words and model_in_words("mine") == "mine"
    assert model_of(fold) == OURS and model_of(tmp_path / "stock") == ""
    assert names_of([fold, other], [OURS, STOCK])[0] == words
    assert names_of([fold, tmp_path / "stock"], [OURS, ""]) == [words, "stock"]
    assert names_of([tmp_path / "pred"], [""]) == ["pred"]


def test_two_folds_of_a_model_are_told_apart(tmp_path):
    folds = [tmp_path / OURS / f"fold_{k}" / "validation" for k in (0, 1)]
    assert names_of(folds, [OURS, OURS]) == ["fold_0", "fold_1"]
