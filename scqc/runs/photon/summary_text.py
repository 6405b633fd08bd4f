"""What the terminal and the report say about a photon-counting run."""

from __future__ import annotations

from typing import Any

from scqc.runs.photon.config import PhotonConfig


def rows(data: dict[str, Any], config: PhotonConfig) -> list[tuple[str, str]]:
    """Return what the terminal shows."""
    quantum, key, payload = data["quantum"], data["key"], data["payload"]
    gain, qber, lines = quantum["gain"], quantum["qber"], list[tuple[str, str]]()
    if config.carries_payload:
        state = "delivered" if payload["delivered"] else "not delivered"
        lines.append(("payload", f"{payload['bytes']} bytes, {state}"))
    lines += [
        ("gain signal, decoy, vacuum", ", ".join(f"{g:.3e}" for g in gain.values())),
        ("error rate Z, X", f"{qber['z']:.3%}, {qber['x']:.3%}"),
        ("clock difference", f"{1e6 * data['sync']['df']:+.4f} ppm"),
        ("start of the light", f"{1e3 * data['sync']['delay_s']:.6f} ms"),
    ]
    if "bounds" in quantum:
        lines.append(("single-photon yield", f">= {quantum['y1']:.3e}"))
        lines.append(("phase error", f"<= {quantum['e1']:.2%}"))
    found = data["reconciliation"]
    if found["frames"]:
        text = f"f {found['f']:.3f}, FER {found['fer']:.3f}, {found['frames']} frames"
        lines.append(("reconciliation", text))
    if config.carries_payload:
        sink = data["sink"]
        text = f"{sink['before']} - {sink['consumed']} + {sink['refilled']}"
        lines.append(("pad in the sink", f"{text} = {sink['after']} bits"))
    lines.append(
        (
            "secret key",
            f"{key['secret_bits']} bits ({key['secret_bits_per_slot']:.2e} per slot), "
            f"epsilon {key['epsilon']:.1e}",
        )
    )
    return lines


def verdict(data: dict[str, Any], config: PhotonConfig) -> str:
    """Return the outcome of a run in a sentence or two."""
    payload, key, sink = data["payload"], data["key"], data["sink"]
    parts = []
    if payload["delivered"]:
        parts.append(f"{payload['bytes']} bytes delivered under a one-time pad.")
    elif payload["problem"]:
        parts.append(f"Message not delivered: {payload['problem']}.")
    if config.security.encoding == "direct":
        parts.append(
            "No key: direct encoding sends every bit many times, and copies of a bit "
            "break the decoy argument."
        )
    elif key["secret_bits"]:
        parts.append(
            f"{key['secret_bits']} secret bits, equal on both sides by verification."
        )
    elif data["reconciliation"]["fer"] == 1.0:
        z, x = data["quantum"]["qber"]["z"], data["quantum"]["qber"]["x"]
        parts.append(
            f"No key: no frame was reconciled; public slots show {z:.2%} errors in Z, "
            f"the check basis {x:.2%}."
        )
    else:
        missing = -key.get("ledger", {}).get("balance_bits", 0.0)
        parts.append(f"No key: {missing:.0f} bits short; a longer block is needed.")
    if config.carries_payload:
        parts.append(f"The sink holds {sink['after']} bits of pad.")
    return " ".join(parts)
