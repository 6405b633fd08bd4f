r"""Transmittance and excess noise with confidence intervals.

Bob's quadrature in code units has the residual variance :math:`\rho`; the
calibration gives :math:`S` (shot plus electronic noise) and :math:`E`
(electronic noise), so :math:`N_0 = S - E` is one SNU and

.. math:: b = (\rho - S)/N_0, \qquad T = \mu g^2/(\eta N_0), \qquad
          \xi = \mu b/(\eta T)

with :math:`\mu = 2` for heterodyne detection. The excess noise at Bob `b` is a
difference of two measured variances: the calibration's uncertainty enters it
exactly as the signal's does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from protocols.estimation.regression import Sums
from protocols.security.composable import box_sigmas
from protocols.security.gaussian_kernels import worst_bound
from protocols.security.holevo import Channel, Detection, check_channel
from scqc.core.errors import ProtocolAbort

Displacement = Literal["none", "error-corrected", "raw-decisions"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a two-sided confidence interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return value, low and high."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Detector:
    """Bob's calibrated receiver.

    Parameters
    ----------
    efficiency : float
        [1]
    electronic_snu : float
        Measured electronic noise [SNU].
    n_shot, n_electronic : int
        Real samples behind the two calibration variances [1].
    trusted : bool
        Whether efficiency and electronic noise are out of Eve's reach.
    detection : {"homodyne", "heterodyne"}
    """

    efficiency: float
    electronic_snu: float
    n_shot: int
    n_electronic: int
    trusted: bool = True
    detection: Detection = "heterodyne"

    @property
    def mu(self) -> float:
        """Parts the light is split into before the measurement [1]."""
        return 1.0 if self.detection == "homodyne" else 2.0


@dataclass(frozen=True, slots=True)
class ChannelEstimate:
    """Point estimates and standard deviations.

    Parameters
    ----------
    v_a_snu : float
        Modulation variance [SNU].
    transmittance, transmittance_sigma : float
        [1]
    noise_bob_snu, noise_bob_sigma_snu : float
        Excess noise per quadrature at Bob [SNU].
    electronic_sigma_snu : float
    detector : Detector
    samples : int
        Real samples behind the estimate [1].
    """

    v_a_snu: float
    transmittance: float
    transmittance_sigma: float
    noise_bob_snu: float
    noise_bob_sigma_snu: float
    electronic_sigma_snu: float
    detector: Detector
    samples: int

    @property
    def xi_snu(self) -> float:
        """Excess noise referred to the channel input [SNU]; may be negative."""
        return self._to_input(self.noise_bob_snu)

    @property
    def xi_sigma_snu(self) -> float:
        """Its standard deviation [SNU]."""
        return self._to_input(self.noise_bob_sigma_snu)

    def _to_input(self, noise_snu: float) -> float:
        detector = self.detector
        return detector.mu * noise_snu / (detector.efficiency * self.transmittance)

    def transmittance_interval(self, sigmas: float) -> Interval:
        """Return T with a two-sided interval of `sigmas` standard deviations."""
        half = sigmas * self.transmittance_sigma
        return Interval(
            self.transmittance, self.transmittance - half, self.transmittance + half
        )

    def xi_interval(self, sigmas: float) -> Interval:
        """Return xi [SNU] with a two-sided interval."""
        half = sigmas * self.xi_sigma_snu
        return Interval(self.xi_snu, self.xi_snu - half, self.xi_snu + half)

    def channel(self) -> Channel:
        """Return the point estimate as the security code wants it."""
        detector = self.detector
        return Channel(
            self.v_a_snu,
            self.transmittance,
            self.xi_snu,
            detector.efficiency,
            detector.electronic_snu,
            detector.detection,
        )


def estimate_channel(
    sums: Sums, detector: Detector, displacement: Displacement
) -> ChannelEstimate:
    """Estimate the channel from Alice's and Bob's Gaussian variables.

    Parameters
    ----------
    sums : Sums
        Both quadratures; Bob in units of the measured shot noise.
    detector : Detector
    displacement : {"none", "error-corrected", "raw-decisions"}
        How the classical displacement was removed.

    Raises
    ------
    ProtocolAbort
        If the displacement was removed by raw decisions: wrong decisions fold
        the Gaussian and bias the excess noise by up to several SNU. Also with
        fewer than 100 samples, no correlation, or sums that no data can have.
    """
    if displacement == "raw-decisions":
        raise ProtocolAbort(
            "estimation: the displacement was removed by raw decisions; excess noise "
            "from such data is wrong by up to several SNU. Remove it after error "
            "correction, with the bits Alice discloses for failed frames"
        )
    if sums.n < 100:
        raise ProtocolAbort(f"estimation: {sums.n} samples, at least 100 are needed")
    if not sums.xx > 0.0 or not sums.xy > 0.0:
        raise ProtocolAbort(
            "estimation: Bob's data do not follow Alice's (sums of products: hers "
            f"{sums.xx:.3g}, mixed {sums.xy:.3g}; both must be positive)"
        )
    if not 0.0 < sums.residual_snu < math.inf:
        raise ProtocolAbort(
            f"estimation: residual variance {sums.residual_snu:.3g} SNU of Bob's data "
            "given Alice's, must be positive: the sums contradict each other"
        )
    electronic = detector.electronic_snu
    shot_total = 1.0 + electronic
    var_shot = shot_total**2 * 2.0 / detector.n_shot
    var_dark = electronic**2 * 2.0 / detector.n_electronic
    gain = sums.gain
    transmittance = detector.mu * gain**2 / detector.efficiency
    relative = math.sqrt((2.0 * sums.gain_sigma / gain) ** 2 + var_shot + var_dark)
    noise = sums.residual_snu - shot_total
    sigma = math.sqrt(sums.residual_sigma_snu**2 + var_shot)
    return ChannelEstimate(
        v_a_snu=sums.xx / sums.n,
        transmittance=transmittance,
        transmittance_sigma=transmittance * relative,
        noise_bob_snu=noise,
        noise_bob_sigma_snu=sigma,
        # E / N0 with both measured.
        electronic_sigma_snu=math.sqrt(
            var_dark * shot_total**2 + var_shot * electronic**2
        ),
        detector=detector,
        samples=sums.n,
    )


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The corner of the confidence box that helps Eve most.

    Parameters
    ----------
    holevo_bits : float
        Largest Holevo information in the box [bit per symbol].
    channel : Channel
        Where it is taken.
    sigmas : float
        Half-width of the box in standard deviations [1].
    """

    holevo_bits: float
    channel: Channel
    sigmas: float


def worst_case(estimate: ChannelEstimate, epsilon: float) -> WorstCase:
    """Maximise the Holevo term over the confidence box.

    Parameters
    ----------
    estimate : ChannelEstimate
    epsilon : float
        Probability that any of the three parameters lies outside [1].

    Notes
    -----
    At fixed output noise the bound can rise or fall with the transmittance, so
    both ends are tried; ``sqrt(2 ln(1/eps))`` bounds a Gaussian tail.
    """
    sigmas = box_sigmas(epsilon)
    detector = estimate.detector
    noise = estimate.noise_bob_snu + sigmas * estimate.noise_bob_sigma_snu
    half_t = sigmas * estimate.transmittance_sigma
    half_nu = sigmas * estimate.electronic_sigma_snu
    if estimate.transmittance <= half_t:
        raise ProtocolAbort(
            f"estimation: transmittance {estimate.transmittance:.3g} is not above its "
            f"uncertainty {half_t:.3g}: the block is too small"
        )
    holevo, t, nu = worst_bound(
        estimate.v_a_snu,
        (estimate.transmittance, half_t),
        noise,
        (detector.electronic_snu, half_nu),
        detector.efficiency,
        detector.detection == "heterodyne",
        detector.trusted,
    )
    channel = Channel(
        estimate.v_a_snu,
        t,
        detector.mu * noise / (detector.efficiency * t),
        detector.efficiency,
        nu,
        detector.detection,
    )
    check_channel(channel)
    return WorstCase(holevo, channel, sigmas)
