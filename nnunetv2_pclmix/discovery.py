"""How ``nnUNetv2_train -tr nnUNetTrainerPCLMix`` finds the trainer.

nnU-Net looks for a trainer in its own package first and then in each folder named in the
environment variable ``nnUNet_extTrainer``. :func:`register` appends our folder to that variable.
The ``.pth`` and ``.start`` files that ``setup.py`` installs call it whenever Python starts, so this
module imports only what every start of the interpreter has loaded already.
"""

import os

VARIABLE = "nnUNet_extTrainer"
TRAINER = "nnUNetTrainerPCLMix"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "external_trainers")


def with_our_folder(value: str) -> str:
    """Return ``value``, a list of folders as in ``nnUNet_extTrainer``, with ours in it.

    What the user has set stays as it is and comes first. Our folder is never listed twice.
    """
    listed = [_comparable(folder) for folder in value.split(os.pathsep) if folder.strip()]
    if _comparable(FOLDER) in listed:
        return value
    return value + os.pathsep + FOLDER if listed else FOLDER


def register() -> None:
    """Name our folder in ``nnUNet_extTrainer``, for this process and those it starts."""
    if os.path.isdir(FOLDER):
        os.environ[VARIABLE] = with_our_folder(os.environ.get(VARIABLE, ""))


def nearest(name: str, known: list[str]) -> str:
    """Those of the known names that a name was perhaps meant to be, as a question; or nothing."""
    import difflib

    near = difflib.get_close_matches(name, known, cutoff=0.8)
    return f". Is it {' or '.join(near)}?" if near else ""


def find_trainer(name: str = TRAINER) -> tuple[type, str]:
    """Let nnU-Net look for the trainer ``name``; return the class and the folder that led to it.

    Raises:
        RuntimeError: nnU-Net finds no class of this name. Whatever the scanned modules raise when
            they are imported comes through as well.
    """
    import contextlib
    import io

    # nnU-Net tells on standard output which modules it looks at.
    with contextlib.redirect_stdout(io.StringIO()):
        import nnunetv2
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        trainer = recursive_find_trainer_class_by_name(name)
        if trainer.__module__.startswith("nnunetv2."):
            return trainer, nnunetv2.__path__[0]
        # The look-up above does not say which folder it was: repeat it, one folder at a time.
        folders = [f for f in os.environ.get(VARIABLE, "").split(os.pathsep) if f.strip()]
        return trainer, next(
            folder
            for folder in folders
            if os.path.exists(folder)
            and recursive_find_python_class(
                folder, name, None, base_folder=folder, cleanup_imports_from_base_folder=True
            )
        )


def _comparable(folder: str) -> str:
    return os.path.normcase(os.path.realpath(folder))
