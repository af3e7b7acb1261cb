"""The list of files that a run wrote, in its record: only these may a later run replace."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from scribble_tools.json_files import read_json
from scribble_tools.storage.file_sets import write_json
from scribble_tools.storage.folders import list_entries, path_inside

FILES = "files"


def write_record(record: dict, path: Path) -> None:
    """Write the record of a run into the new folder that it describes, with all files in there."""
    files = {*map(str, list_entries(path.parent)), path.name}
    write_json({**record, FILES: sorted(files)}, path)


def files_in_record(path: Path) -> set[PurePosixPath] | None:
    """The files, relative to the record's folder, that a record names; None where it names none.

    Raises:
        ValueError: it is no record, or a name in it is no path below its folder.
    """
    try:
        record = read_json(path)
        if not isinstance(record, dict):
            raise TypeError(f"it holds a {type(record).__name__}, no object")
        files = record.get(FILES)
        if files is None:
            return None
        return {path_inside(name) for name in files}
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no record of an earlier run ({error})") from None


def written_by_record(
    folder: Path, record: str, command: str, needed: Collection[str] = ()
) -> set[PurePosixPath]:
    """What a folder's record says that an earlier run wrote there.

    Args:
        record: its file's name.
        command: of the run, for messages.
        needed: keys that a record of this command has.

    Raises:
        FileExistsError: there is no such record, or it does not say which files it wrote.
    """
    path = folder / record
    remedy = "not replaced. Take another name, or take it away yourself"
    if path.is_symlink() or not path.is_file():
        raise FileExistsError(
            f"{folder} exists and holds no {record} that says what {command} wrote there: {remedy}"
        )
    try:
        files = files_in_record(path)
        content = read_json(path)
    except ValueError as error:
        raise FileExistsError(f"{folder} exists: {error}: {remedy}") from None
    if files is None or any(key not in content for key in needed):
        raise FileExistsError(f"{path} does not say which files {command} wrote there: {remedy}")
    return files


def refuse_foreign(
    paths: Iterable[Path], written: Collection[str], what: str, folder: Path | None = None
) -> None:
    """Refuse to replace files that no earlier run wrote.

    Args:
        written: names, or paths below ``folder`` with slashes.

    Raises:
        FileExistsError: one of ``paths`` is there, and is not among ``written``.
    """
    names = {p: p.relative_to(folder).as_posix() if folder else p.name for p in paths}
    foreign = [path for path, name in names.items() if name not in written and path.exists()]
    if foreign:
        more = f" and {len(foreign) - 1} more" * (len(foreign) > 1)
        raise FileExistsError(
            f"{foreign[0]}{more}: {what} did not write this, so --overwrite does not replace it. "
            "Take another --out, or take it away yourself"
        )
