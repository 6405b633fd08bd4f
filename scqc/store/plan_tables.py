"""Tables of plans as HDF5: one group per curve, one dataset per array."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store.files import capture_errors, part_path, publish

FORMAT = "scqc-plan"
FORMAT_VERSION = 1


def write_plan_table(
    path: Path,
    groups: Mapping[str, Mapping[str, NDArray[np.float64]]],
    facts: Mapping[str, str],
) -> None:
    """Write arrays by group; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
    groups : mapping of str to mapping of str to ndarray, shape (...), float64
        [unit in the name]
    facts : mapping of str to str
        Attributes of the file: what the numbers rest on.

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    part = part_path(path)
    with capture_errors(path, "write"):
        part.unlink(missing_ok=True)
        with h5py.File(part, "w", libver="latest") as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            for key, value in facts.items():
                file.attrs[key] = value
            for name, arrays in groups.items():
                group = file.create_group(name.replace("/", "_"))
                for key, values in arrays.items():
                    group.create_dataset(key, data=np.asarray(values, np.float64))
        publish(part, path)


def read_plan_table(
    path: Path, arrays: tuple[str, ...] = ()
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Read what `write_plan_table` wrote.

    Parameters
    ----------
    path : Path
    arrays : tuple of str
        Names of the arrays wanted; all of them if empty.

    Returns
    -------
    dict of str to dict of str to ndarray, shape (...), float64

    Raises
    ------
    CaptureError
        If it is no such file.
    """
    with capture_errors(path, "read"):
        if not os.access(path, os.R_OK):
            raise CaptureError(f"{path}: cannot be read")
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise CaptureError(f"{path}: no table of a plan")
            if int(file.attrs["format_version"]) != FORMAT_VERSION:
                raise CaptureError(
                    f"{path}: format version {file.attrs['format_version']}, this "
                    f"program reads {FORMAT_VERSION}"
                )
            return {
                name: {
                    key: np.asarray(data, dtype=np.float64)
                    for key, data in group.items()
                    if not arrays or key in arrays
                }
                for name, group in file.items()
            }
