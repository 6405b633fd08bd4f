"""The result of a run: one JSON object, one table, one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1
EXIT_KEY = 0
EXIT_NO_KEY = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found.

    Parameters
    ----------
    data : dict
        JSON values only.
    verdict : str
        One sentence for a person.
    plots : dict
        Arrays for the report; never part of the JSON.
    rows : list of (name, value), optional
        What the terminal shows; by default what `data` says of a CV run.
    """

    data: dict[str, Any]
    verdict: str
    plots: dict[str, Any] = field(default_factory=dict, repr=False)
    rows: list[tuple[str, str]] | None = None

    @property
    def exit_code(self) -> int:
        """0 with a key, 3 without."""
        key = self.data.get("key", {})
        return EXIT_KEY if key.get("secret_bits", 0) > 0 else EXIT_NO_KEY

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {"schema_version": SCHEMA_VERSION, **self.data, "verdict": self.verdict}

    def table(self) -> list[tuple[str, str]]:
        """Return what the terminal shows."""
        if self.rows is not None:
            return self.rows
        data = self.data
        rows: list[tuple[str, str]] = []
        # Without displacement there is no payload and no bit to be wrong.
        displaced = data.get("classical", {}).get("frames", 0) > 0
        if displaced and "payload" in data:
            state = "delivered" if data["payload"]["delivered"] else "not delivered"
            rows.append(("payload", f"{data['payload']['bytes']} bytes, {state}"))
        if displaced:
            classical = data["classical"]
            rows.append(("raw bit error rate", f"{classical['ber_raw']:.3e}"))
            lost = f"{classical['frames_lost']} of {classical['frames']}"
            rows.append(("classical frames lost", lost))
        if "quantum" in data:
            quantum = data["quantum"]
            rows += [
                ("transmittance", _interval(quantum["transmittance"])),
                ("excess noise xi [SNU]", _interval(quantum["xi_snu"])),
            ]
            truth = quantum.get("truth")
            if truth:
                rows.append(
                    (
                        "  true (simulated)",
                        f"T {truth['transmittance']:.4f}, "
                        f"xi {truth['xi_injected_snu']:.4f} injected, "
                        f"{truth['xi_expected_snu']:.4f} expected",
                    )
                )
        if "reconciliation" in data:
            r = data["reconciliation"]
            rows.append(
                (
                    "reconciliation",
                    f"beta {r['beta']:.3f}, rate {r['code_rate']:.3f}, "
                    f"FER {r['fer']:.3f}",
                )
            )
        if "key" in data:
            key = data["key"]
            rows.append(
                (
                    "secret key",
                    f"{key['secret_bits']} bits "
                    f"({key['secret_bits_per_symbol']:.4f} per symbol), "
                    f"epsilon {key['epsilon']:.1e}",
                )
            )
        return rows


def _interval(entry: dict[str, float]) -> str:
    return f"{entry['value']:.4f}  [{entry['low']:.4f}, {entry['high']:.4f}]"
