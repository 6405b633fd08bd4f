"""All files of a plan in one folder."""

from __future__ import annotations

from pathlib import Path

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.plan.figures import plan_figure
from scqc.plan.records import Plan
from scqc.plan.report import write_report
from scqc.plan.tables import write_csv, write_json, write_matrix_csv
from scqc.store.files import write_atomically
from scqc.store.plan_tables import write_plan_table


def write_all(folder: Path, plan: Plan) -> list[Path]:
    """Write report, figure, CSV, HDF5 and JSON.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    plan : Plan

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    PlanSettingsError
        If there cannot be such a folder.
    CaptureError
        If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        limit = f"no folder can be made there: {error}"
        problem = ConfigProblem("plan", "", "--out", str(folder), limit)
        raise PlanSettingsError([problem]) from error
    files = [folder / name for name in ("report.html", "figure.png", "plan.json")]
    report, figure, whole = files
    write_report(report, plan)
    write_atomically(figure, iter([plan_figure(plan, "png")]))
    write_json(whole, plan)
    table = folder / "curves.csv"
    if plan.y == ("attenuation_db",):
        write_matrix_csv(table, plan.curves[0], "attenuation_db", "distance_km")
    else:
        write_csv(table, plan)
    store = folder / "curves.h5"
    groups = {curve.label: curve.arrays for curve in plan.curves}
    facts = {a.key: str(a.value) for a in plan.assumptions}
    write_plan_table(store, groups, {"preset": plan.name, **facts})
    return [*files, table, store]
