"""How running ends are, as a terminal shows it: a row a quantity, a column an end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scqc.cli.numbers import duration, si

#: Styles of severities; the monitor's red is what somebody must look at.
STYLES = {"ok": "", "minor": "yellow", "major": "red", "invalid": "magenta"}
_SECTIONS = ("link", "blocks", "channel", "key", "key sink", "alarms")
_ARROWS = {"alice-to-bob": "A→B", "bob-to-alice": "B→A"}


class Cell(NamedTuple):
    """What stands in one place of the table."""

    text: str
    severity: str = "ok"


#: Section and quantity, to what an end says of it.
Rows = dict[tuple[str, str], Cell]


def watch(look: Callable[[], list[dict[str, Any]]], interval_s: float) -> None:
    """Show how the ends are, again and again in one place, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            live.update(status_view(look()), refresh=True)
            time.sleep(interval_s)


def status_view(ends: Sequence[dict[str, Any]]) -> Any:
    """Return the ends side by side as something to print."""
    from rich.table import Table
    from rich.text import Text

    columns = [rows_of(end) for end in ends]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("", no_wrap=True)
    for end in ends:
        title = Text(str(end.get("home", end.get("party", ""))), "bold")
        table.add_column(title, overflow="fold")
    section = ""
    # Within a section in the order of whoever has the row first.
    places = dict.fromkeys(place for column in columns for place in column)
    for place in sorted(places, key=_rank):
        if place[0] != section:
            section = place[0]
            if section != "link":
                table.add_row()
            table.add_row(Text(section, "bold cyan"))
        cells = [column.get(place, Cell("")) for column in columns]
        shown = [Text(cell.text, STYLES[cell.severity]) for cell in cells]
        table.add_row(f"  {place[1]}", *shown)
    return table


def _rank(place: tuple[str, str]) -> tuple[int, bool]:
    """Order by section; a state and its reason stay together."""
    return _SECTIONS.index(place[0]), place[1] not in ("state", "why")


def rows_of(end: dict[str, Any]) -> Rows:
    """Return the rows of one end, with what is wrong marked by its severity."""
    if "party" not in end:
        rows = {("link", "state"): Cell(end["state"], "invalid")}
        rows["link", "why"] = Cell(end["why"])
    else:
        rows = _link(end) | _blocks(end) | _channel(end) | _sink(end)
    for number, alarm in enumerate(end["alarms"]):
        rows["alarms", "" if number == 0 else " " * number] = _alarm(alarm)
    if not end["alarms"]:
        known = "party" in end
        rows["alarms", ""] = Cell("none") if known else Cell("not known", "invalid")
    return rows


def _link(end: dict[str, Any]) -> Rows:
    skew_s, peer_s = end["clock_skew_s"], end["peer_age_s"]
    codes = {alarm["code"] for alarm in end["alarms"]}
    state = Cell(end["state"], _severity(end["state"]))
    rows = {("link", "state"): state}
    if end["why"]:
        rows["link", "why"] = Cell(end["why"])
    rows["link", "severity"] = Cell(end["severity"], end["severity"])
    rows["link", "scheme"] = Cell(
        end["scheme"] + (" (simulated)" if end["simulated"] else "")
    )
    rows["link", "up for"] = Cell(duration(end["uptime_s"]))
    heard = "nothing yet" if peer_s is None else f"{duration(peer_s)} ago"
    rows["link", "peer heard"] = Cell(heard, "major" if "peer-lost" in codes else "ok")
    rows["link", "sessions"] = Cell(str(end["sessions"]))
    if skew_s is not None:
        rows["link", "clock skew"] = Cell(
            f"{skew_s:+.2f} s", "minor" if "clock-skew" in codes else "ok"
        )
    refused = f"{end['messages_rejected']} of {end['messages_received']}"
    rows["link", "messages refused"] = Cell(refused)
    rows["link", "strangers"] = Cell(str(end["strangers"]))
    low = "major" if "disk-low" in codes else "ok"
    free = end["disk_free_bytes"]
    rows["link", "disk free"] = Cell("?" if free is None else si(free, "B"), low)
    return rows


def _severity(state: str) -> str:
    return {"waiting": "minor", "paused": "minor", "fault": "major"}.get(state, "ok")


def _blocks(end: dict[str, Any]) -> Rows:
    rate, age_s = end["blocks_per_s"], end["last_block_age_s"]
    every = f", one in {duration(1.0 / rate)}" if rate > 0.0 else ""
    barren = end["blocks_without_key"]
    no_key = any(alarm["code"] == "no-key" for alarm in end["alarms"])
    return {
        ("blocks", "ended"): Cell(f"{end['blocks']}, {end['failed']} failed{every}"),
        ("blocks", "last ended"): Cell(_ago(age_s)),
        ("blocks", "waiting"): Cell(str(end["blocks_waiting"])),
        ("blocks", "without key"): Cell(
            f"{barren} in a row" if barren else "none of late",
            "minor" if no_key else "ok",
        ),
        ("key", "rate"): Cell(si(end["secret_bits_per_s"], "bit/s")),
        ("key", "so far"): Cell(si(end["secret_bits"], "bit")),
    }


def _channel(end: dict[str, Any]) -> Rows:
    last, severity = end["last"], end["last_severity"]
    # What is too old is marked altogether, what is too high by itself.
    judged = {"qber_z", "qber_x", "xi_snu"}
    if not last:
        text = "Bob's end knows it" if end["party"] == "alice" else "not known yet"
        return {("channel", "as of"): Cell(text)}
    old = severity if severity == "invalid" else "ok"
    shown = {("channel", "as of"): Cell(_ago(end["last_age_s"]), old)}
    for name, title, form in (
        ("qber_z", "QBER Z", "{:.2%}"),
        ("qber_x", "QBER X", "{:.2%}"),
        ("gain_signal", "gain", "{:.3g}"),
        ("xi_snu", "excess noise", "{:.4f} SNU"),
        ("transmittance", "transmittance", "{:.4f}"),
        ("ber", "bit error rate", "{:.2e}"),
    ):
        if name in last:
            marked = severity == "invalid" or name in judged
            cell = Cell(form.format(last[name]), severity if marked else "ok")
            shown["channel", title] = cell
    return shown


def _sink(end: dict[str, Any]) -> Rows:
    codes = {alarm["code"] for alarm in end["alarms"]}
    low = {
        "authentication": "major" if "authentication-low" in codes else "ok",
        "pad": "minor" if "pad-low" in codes else "ok",
        "export": "minor" if "export-empty" in codes else "ok",
    }
    rows: Rows = {}
    for name, bits in end["sink"].items():
        pool, _, direction = name.partition(".")
        lasts_s = end["sink_lasts_s"].get(name)
        lasts = "" if lasts_s is None else f", lasts {duration(lasts_s)}"
        # Pad goes one way only: what is never there is no news.
        if bits or pool != "pad":
            title = f"{pool} {_ARROWS.get(direction, direction)}"
            rows["key sink", title] = Cell(f"{si(bits, 'bit')}{lasts}", low[pool])
    if end["sink_problem"]:
        rows["key sink", "problem"] = Cell(end["sink_problem"], "major")
    return rows


def _alarm(alarm: dict[str, Any]) -> Cell:
    times = f", {alarm['count']} times" if alarm["count"] > 1 else ""
    text = f"{alarm['code']} ({duration(alarm['age_s'])}{times}): {alarm['text']}"
    return Cell(text, alarm["severity"])


def _ago(age_s: float | None) -> str:
    return "never" if age_s is None else f"{duration(age_s)} ago"
