"""Plans as CSV and JSON files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np

from scqc.plan.records import Curve, Plan
from scqc.store.files import write_atomically


def write_csv(path: Path, plan: Plan) -> None:
    """Write all curves as one table with a column that names the curve.

    Parameters
    ----------
    path : Path
    plan : Plan

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for assumption in plan.assumptions:
        value = json.dumps(assumption.value)
        out.write(f"# {assumption.key} = {value} ({assumption.origin})\n")
    names = list(dict.fromkeys(n for c in plan.curves for n in c.arrays if _flat(c, n)))
    writer.writerow(["curve", *names])
    for curve in plan.curves:
        rows = curve.arrays[curve.x].size
        for i in range(rows):
            cells = [
                repr(float(curve.arrays[n][i])) if n in curve.arrays else ""
                for n in names
            ]
            writer.writerow([curve.label, *cells])
    write_atomically(path, iter([out.getvalue().encode()]))


def write_matrix_csv(path: Path, curve: Curve, name: str, columns: str) -> None:
    """Write a two-dimensional array with its axes.

    Parameters
    ----------
    path : Path
    curve : Curve
    name, columns : str
        Names of the array, and of the array over its second axis.

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    x, y = curve.arrays[curve.x], curve.arrays[columns]
    table = np.column_stack([x, curve.arrays[name]])
    head = f"{curve.x}\\{columns}," + ",".join(f"{v:.6g}" for v in y)
    lines = [",".join(repr(float(v)) for v in row) for row in table]
    write_atomically(path, iter(["\n".join([head, *lines, ""]).encode()]))


def write_json(path: Path, plan: Plan) -> None:
    """Write the whole plan as one object.

    Parameters
    ----------
    path : Path
    plan : Plan

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    text = json.dumps({"schema_version": 1, **plan.as_json()}, allow_nan=False)
    write_atomically(path, iter([text.encode(), b"\n"]))


def _flat(curve: Curve, name: str) -> bool:
    return curve.arrays[name].shape == curve.arrays[curve.x].shape
