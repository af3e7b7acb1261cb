"""The trainers of this package, by name, method and length."""

from __future__ import annotations

from nnunetv2_pclmix.discovery import TRAINER, nearest

NNUNETS_EPOCHS = 1000
FASTEST = "nnUNetTrainerStrokeSupport"  # one pass, one decoder


def trainer_class(name: str) -> type:
    """A trainer of this package, by its name.

    Raises:
        ValueError: there is none of that name.
    """
    from nnunetv2_pclmix import variants

    if name not in (known := [TRAINER, *variants.__all__]):
        there = "there is no such trainer (see docs/method.md)"
        whole = f"nnUNetTrainer{name}"  # StrokeSupport, as people say it
        meant = f". Is it {whole}?" if whole in known else nearest(name, known)
        raise ValueError(f"--trainer {name}: {there}{meant}")
    return getattr(variants, name)


def lengths_of_method(name: str) -> dict[int, str]:
    """Epochs to name of all trainers of the method that the one called ``name`` trains.

    Raises:
        ValueError: there is no such trainer.
    """
    from nnunetv2_pclmix import variants

    config = trainer_class(name).config
    classes = [trainer_class(other) for other in (TRAINER, *variants.__all__)]
    return {c.epochs or NNUNETS_EPOCHS: c.__name__ for c in classes if c.config == config}


def trainers_by_length(name: str = TRAINER) -> dict[int, str]:
    """As `lengths_of_method`; for a trainer that has a length, itself alone."""
    if epochs := trainer_class(name).epochs:
        return {epochs: name}
    return lengths_of_method(name)
