"""Fibre: attenuation, connectors and splices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from scqc.core.settings import Settings
from sim_backends.propagation.ranges import within

#: Typical attenuation [dB/km] by kind of fibre: textbook values, no measurement. A
#: plan for a fibre that exists takes the value on its test sheet.
TYPICAL_DB_PER_KM = {
    "standard-1310": 0.35,
    "standard-1550": 0.20,
    "low-loss-1550": 0.17,
    "ultra-low-loss-1550": 0.16,
}


class FibrePlant(Settings):
    """What of a fibre link does not depend on its length.

    Parameters
    ----------
    attenuation_db_per_km : float
        Of the fibre itself [dB/km].
    connectors : int
        Number of connectors from end to end.
    connector_db : float
        Loss of one connector [dB].
    splice_every_km : float
        Length of one reel [km]; reels are spliced.
    splice_db : float
        Loss of one splice [dB].
    """

    attenuation_db_per_km: float = Field(default=0.20, gt=0.0, le=100.0)
    connectors: int = Field(default=0, ge=0, le=1000)
    connector_db: float = Field(default=0.3, ge=0.0, le=10.0)
    splice_every_km: float = Field(default=4.0, gt=0.0)
    splice_db: float = Field(default=0.0, ge=0.0, le=10.0)


def fibre_loss_db(length_km: ArrayLike, plant: FibrePlant) -> NDArray[np.float64]:
    """Return the loss of a link from end to end [dB].

    Parameters
    ----------
    length_km : array_like [km]
    plant : FibrePlant

    Raises
    ------
    ModelRangeError
        If a length is negative or not finite.
    """
    limits = (0.0, 1e5)
    length = within(
        "fibre length [km]", length_km, limits, "longer than round the earth"
    )
    splices = np.maximum(np.ceil(length / plant.splice_every_km) - 1.0, 0.0)
    fixed = plant.connectors * plant.connector_db
    loss = plant.attenuation_db_per_km * length + plant.splice_db * splices + fixed
    return np.asarray(loss)


def fibre_transmittance(length_km: ArrayLike, plant: FibrePlant) -> NDArray[np.float64]:
    """Return the power transmittance of a link [1].

    Parameters
    ----------
    length_km : array_like [km]
    plant : FibrePlant

    Raises
    ------
    ModelRangeError
        As `fibre_loss_db`.
    """
    return np.asarray(10.0 ** (-0.1 * fibre_loss_db(length_km, plant)))
