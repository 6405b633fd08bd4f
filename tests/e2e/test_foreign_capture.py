"""A capture of plain Gaussian modulation that another program laid out.

Everything runs from files through the command line; the reference is a
demodulator that knows the true phase, frequency, timing and scale.
"""

import json
import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_kit import (
    PILOTS_HZ,
    ForeignScene,
    ideal_symbols,
    receiver_knows,
    synthesise,
    write_folder,
)

from dsp.pipeline import BurstRecords, receive_burst
from scqc.cli import main
from scqc.core.errors import CaptureError, LockError, SyncError
from scqc.runs.foreign import (
    ForeignCapture,
    _layout,
    _receiver,
    align,
    import_foreign_npy,
)
from scqc.runs.offline import process_capture
from scqc.runs.progress import Silent

SCENE = ForeignScene()
SMALL = ForeignScene(symbols=5000, seed=5)


def pooled(bob, alice):
    """Gain, residual variance, SNR over both quadratures, with numpy alone."""
    x = np.concatenate([alice.real, alice.imag]).astype(float)
    y = np.concatenate([bob.real, bob.imag]).astype(float)
    gain = x @ y / (x @ x)
    residual = np.mean((y - gain * x) ** 2)
    return gain, residual, gain**2 * np.mean(x**2) / residual


@pytest.fixture(scope="module")
def frame():
    return synthesise(SCENE)


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    return write_folder(frame, tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def processed(folder, tmp_path_factory):
    """Import and process through the command line; return result.json's data."""
    place = tmp_path_factory.mktemp("run")
    out, run = place / "foreign.h5", place / "run"
    assert main(["import", "foreign-npy", str(folder), str(out)]) == 0
    code = main(
        [
            "process",
            str(out),
            "--symbols",
            str(folder / "alice_symbols.npy"),
            "--out",
            str(run),
        ]
    )
    # No key comes from disclosed symbols.
    assert code == 3
    return json.loads((run / "result.json").read_text())


@pytest.fixture(scope="module")
def ideal(frame):
    return pooled(ideal_symbols(frame), frame.alice)


class TestIdealReceiver:
    """The reference must be right before anything is compared with it."""

    def test_snr_is_the_channels(self, ideal):
        _, _, snr = ideal
        expected = SCENE.signal_snu / SCENE.noise_snu
        sigma = math.sqrt((4.0 * expected + 2.0 * expected**2) / (2 * SCENE.symbols))
        assert snr == pytest.approx(expected, abs=4 * sigma)

    def test_noise_is_the_channels(self, ideal):
        _, residual, _ = ideal
        sigma = SCENE.noise_snu / math.sqrt(SCENE.symbols)
        assert residual == pytest.approx(SCENE.noise_snu, abs=4 * sigma)

    def test_gain_is_the_channels(self, ideal):
        gain, _, _ = ideal
        sigma = math.sqrt(SCENE.noise_snu / (2 * SCENE.symbols * SCENE.v_a_snu))
        expected = math.sqrt(0.5 * SCENE.eta * SCENE.transmittance)
        assert gain == pytest.approx(expected, abs=4 * sigma)


class TestReceiver:
    def test_frame_start(self, processed):
        start = processed["receiver"]["first_symbol_sample"]
        assert abs(start - SCENE.first_symbol) < 0.02 * SCENE.period

    def test_clock_within_the_two_pilot_bound(self, processed):
        error = processed["receiver"]["clock_ppm"] - SCENE.clock_ppm
        assert abs(error) < 4 * SCENE.clock_sigma_ppm()

    def test_beat(self, processed):
        # A laser that walks over N symbols shows a mean frequency of its own.
        span_s = SCENE.symbols / 100e6
        walk_hz = math.sqrt(6 * 2 * math.pi * SCENE.linewidth_hz / (5 * span_s)) / (
            2 * math.pi
        )
        stretched = 1e-6 * SCENE.clock_ppm * PILOTS_HZ[0]
        error = processed["receiver"]["beat_hz"] - SCENE.beat_hz - stretched
        assert abs(error) < 4 * walk_hz

    def test_pilot_level(self, processed):
        expected = 10 * math.log10(sum(SCENE.pilots_snr))
        # Half a decibel: R and Q are told apart from some 3500 hops.
        assert processed["receiver"]["pilot_snr_db"] == pytest.approx(expected, abs=0.5)

    def test_penalty_is_the_smoothers(self, processed, ideal):
        """Same samples, so the shot noise drops out of the difference.

        With V = S + N the variance of Bob's quadrature, which no rotation
        changes, the noise is V / (1 + SNR): free of the calibration's scale.
        """
        v = SCENE.signal_snu + SCENE.noise_snu
        snr = processed["quantum"]["snr_pooled"]
        penalty = v / (1.0 + snr) - v / (1.0 + ideal[2])
        phase_rad2 = SCENE.smoothed_rad2(sum(SCENE.pilots_snr))
        assert penalty == pytest.approx(
            SCENE.signal_snu * phase_rad2, abs=4 * penalty_sigma(phase_rad2)
        )

    def test_transmittance_and_noise_lie_in_their_intervals(self, processed):
        quantum = processed["quantum"]
        for name, true in (
            ("transmittance", SCENE.transmittance),
            ("xi_snu", SCENE.xi_snu),
        ):
            assert quantum[name]["low"] < true < quantum[name]["high"]

    def test_interval_on_xi_says_the_calibration_is_short(self, processed):
        # Two variances from as many samples as the signal: sigma of N0 alone is
        # 1.1 / sqrt(symbols), and xi is that times 2 / (eta T).
        xi = processed["quantum"]["xi_snu"]
        sigma = SCENE.noise_snu / math.sqrt(SCENE.symbols)
        least = 2.0 * 2.0 * sigma / (SCENE.eta * SCENE.transmittance)
        assert xi["high"] - xi["low"] > least


def penalty_sigma(phase_rad2):
    """One sigma of the paired penalty [SNU].

    A phase error mixes noise of one quadrature with signal of the other: the sum
    over both of the squared residuals moves by 2 theta (n_x s_p - n_p s_x), whose
    variance is 8 P S N. Halved for the mean of 2 n quadratures.
    """
    return math.sqrt(2.0 * phase_rad2 * SCENE.signal_snu * SCENE.noise_snu) / math.sqrt(
        SCENE.symbols
    )


def phase_error_rad2(frame, **changes):
    """Variance of the receiver's phase error, symbol by symbol against the truth.

    Both demodulators see the same noise, so their quotient is the phase error
    alone. Its straight line is the clock's error, which has a test of its own.
    """
    told = ForeignCapture.model_validate(receiver_knows(frame.scene))
    layout = _layout(told, Path("told"))
    received = receive_burst(
        BurstRecords(
            2.5e9,
            lambda: [frame.signal],
            lambda: [frame.shot],
            lambda: [frame.electronic],
        ),
        layout,
        _receiver(told, layout).model_copy(update=changes),
    )
    ideal = ideal_symbols(frame)
    bob = received.symbols.astype(complex)
    turned = bob * np.conj(ideal)
    turned *= np.exp(-1j * np.angle(turned.sum()))
    # Weighted by power: a faint symbol knows little about the phase.
    power = np.abs(ideal) ** 2
    error = turned.imag / (np.abs(np.vdot(ideal, bob)) / power.sum())
    index = np.linspace(-1.0, 1.0, power.size)
    line = np.sum(error * index) / np.sum(power * index**2)
    bright = power > np.mean(power)
    error = (error / power - line * index)[bright]
    return float(np.sum(power[bright] * error**2) / np.sum(power[bright]))


class TestPhaseError:
    """Sharper than the penalty: the shot noise drops out symbol by symbol."""

    best_rad2 = SCENE.smoothed_rad2(sum(SCENE.pilots_snr))

    def relative_sigma(self):
        # The error keeps its sign for sqrt(R / Q) symbols; its square has half
        # that memory on either side.
        q = 2 * math.pi * SCENE.linewidth_hz / 100e6
        memory = math.sqrt(0.5 / sum(SCENE.pilots_snr) / q)
        return math.sqrt(2.0 * memory / SCENE.symbols)

    def test_close_to_the_best_smoother_of_both_pilots(self, frame):
        """At most a tenth is lost to filters, hops and interpolation."""
        ratio = phase_error_rad2(frame) / self.best_rad2
        margin = 4 * self.relative_sigma()
        assert 1.0 - margin < ratio < 1.1 + margin

    def test_one_pilot_would_fail(self, frame):
        ratio = phase_error_rad2(frame, combine_pilots=False) / self.best_rad2
        assert ratio > 1.1 + 4 * self.relative_sigma()


class TestPenaltyTest:
    """The penalty test must see a receiver that is worse than it should be."""

    def test_a_receiver_without_smoother_fails(self, frame, ideal):
        rng = np.random.default_rng(3)
        one_symbol_rad2 = 0.5 / sum(SCENE.pilots_snr)
        turned = ideal_symbols(frame) * np.exp(
            1j * math.sqrt(one_symbol_rad2) * rng.standard_normal(SCENE.symbols)
        )
        v = SCENE.signal_snu + SCENE.noise_snu
        snr = pooled(turned, frame.alice)[2]
        penalty = v / (1.0 + snr) - v / (1.0 + ideal[2])
        best = SCENE.smoothed_rad2(sum(SCENE.pilots_snr))
        assert penalty > SCENE.signal_snu * best + 4 * penalty_sigma(best)


class TestRotation:
    """Alice's symbols turn Bob's, but never those of their own block."""

    DRAWS, N = 400, 1600

    def correlations(self, rotate):
        rng = np.random.default_rng(9)
        found = []
        for _ in range(self.DRAWS):
            pair = rng.standard_normal((4, self.N))
            alice = (pair[0] + 1j * pair[1]).astype(np.complex64)
            bob = (pair[2] + 1j * pair[3]).astype(np.complex64)
            found.append(np.vdot(alice, rotate(bob, alice)).real)
        # Sum of 2 n products of unit variance each.
        return np.array(found) / math.sqrt(2 * self.N)

    def test_noise_stays_uncorrelated(self):
        def rotate(bob, alice):
            return align(
                SimpleNamespace(symbols=bob, unit=SimpleNamespace(scale=1.0)), alice
            )

        mean = self.correlations(rotate).mean()
        assert abs(mean) < 4.0 / math.sqrt(self.DRAWS)

    def test_a_rotation_that_sees_its_own_symbols_would_not(self):
        def rotate(bob, alice):
            whole = np.vdot(bob, alice)
            return bob * (whole / abs(whole))

        assert self.correlations(rotate).mean() > 4.0 / math.sqrt(self.DRAWS)


@pytest.fixture
def small(tmp_path):
    return write_folder(synthesise(SMALL), tmp_path / "small")


class TestBadInput:
    @pytest.mark.parametrize(
        "name",
        ["signal.npy", "shot.npy", "electronic.npy", "receiver_knows.json"],
    )
    def test_missing_file(self, small, tmp_path, name):
        (small / name).unlink()
        with pytest.raises(CaptureError, match=name):
            import_foreign_npy(small, tmp_path / "f.h5")

    def test_wrong_dtype(self, small, tmp_path):
        np.save(small / "shot.npy", np.zeros(5000))
        with pytest.raises(CaptureError, match="float64"):
            import_foreign_npy(small, tmp_path / "f.h5")

    def test_wrong_shape(self, small, tmp_path):
        np.save(small / "signal.npy", np.zeros((2, 5000), np.int16))
        with pytest.raises(CaptureError, match=r"\(2, 5000\)"):
            import_foreign_npy(small, tmp_path / "f.h5")

    def test_pickled_file_is_never_unpickled(self, small, tmp_path):
        marker = tmp_path / "ran"
        (small / "shot.npy").write_bytes(pickle.dumps(Touch(str(marker))))
        with pytest.raises(CaptureError, match="plain"):
            import_foreign_npy(small, tmp_path / "f.h5")
        assert not marker.exists()

    def test_object_array_is_never_unpickled(self, small, tmp_path):
        marker = tmp_path / "ran"
        array = np.array([Touch(str(marker))] * 2000, dtype=object)
        np.save(small / "shot.npy", array, allow_pickle=True)
        with pytest.raises(CaptureError, match="plain"):
            import_foreign_npy(small, tmp_path / "f.h5")
        assert not marker.exists()

    @pytest.mark.parametrize("keep", [0, 5, 100, 5000])
    def test_truncated_file(self, small, tmp_path, keep):
        whole = (small / "signal.npy").read_bytes()
        (small / "signal.npy").write_bytes(whole[:keep])
        with pytest.raises(CaptureError, match="signal"):
            import_foreign_npy(small, tmp_path / "f.h5")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("symbols", 0),
            ("adc_rate", -1.0),
            ("roll_off", 2.0),
            ("eta", 1.5),
            ("zc_length", "long"),
            ("unheard_of", 1),
            # Inside the signal's band.
            ("pilot_frequencies", [110e6, 220e6]),
            ("pilot_frequencies", [200e6, 200e6]),
        ],
    )
    def test_layout_that_cannot_be(self, small, tmp_path, key, value):
        told = receiver_knows(SMALL) | {key: value}
        (small / "receiver_knows.json").write_text(json.dumps(told))
        with pytest.raises(CaptureError, match="receiver_knows"):
            import_foreign_npy(small, tmp_path / "f.h5")

    def test_truncated_settings(self, small, tmp_path):
        (small / "receiver_knows.json").write_text('{"symbols": 3')
        with pytest.raises(CaptureError, match="receiver_knows"):
            import_foreign_npy(small, tmp_path / "f.h5")

    def estimate(self, small, tmp_path, symbols=None):
        import_foreign_npy(small, tmp_path / "f.h5")
        symbols = symbols or small / "alice_symbols.npy"
        return process_capture(tmp_path / "f.h5", tmp_path, Silent(), symbols=symbols)

    def test_no_light(self, small, tmp_path):
        (small / "signal.npy").write_bytes((small / "shot.npy").read_bytes())
        with pytest.raises(LockError, match="pilot"):
            self.estimate(small, tmp_path)

    def test_no_preamble(self, small, tmp_path):
        frame = synthesise(SMALL)
        codes, noise = frame.signal.copy(), frame.shot
        stop = round(SMALL.first_symbol) - 100
        codes[:stop] = noise[:stop]
        np.save(small / "signal.npy", codes)
        with pytest.raises(SyncError, match="preamble"):
            self.estimate(small, tmp_path)

    def test_another_preamble(self, small, tmp_path):
        told = receiver_knows(SMALL) | {"zc_root": 7}
        (small / "receiver_knows.json").write_text(json.dumps(told))
        with pytest.raises(SyncError, match="preamble"):
            self.estimate(small, tmp_path)

    def test_pilots_elsewhere(self, small, tmp_path):
        told = receiver_knows(SMALL) | {"pilot_frequencies": [200e6, 260e6]}
        (small / "receiver_knows.json").write_text(json.dumps(told))
        with pytest.raises(LockError, match="pilot"):
            self.estimate(small, tmp_path)

    def test_more_symbols_than_the_record_holds(self, small, tmp_path):
        told = receiver_knows(SMALL) | {"symbols": 2 * SMALL.symbols}
        (small / "receiver_knows.json").write_text(json.dumps(told))
        np.save(small / "alice_symbols.npy", np.ones(2 * SMALL.symbols, np.complex64))
        with pytest.raises(SyncError, match="record ends"):
            self.estimate(small, tmp_path)

    @pytest.mark.parametrize(
        "symbols",
        [
            np.ones(SMALL.symbols - 1, np.complex64),
            np.ones(SMALL.symbols, np.float32),
            np.full(SMALL.symbols, np.nan, np.complex64),
        ],
        ids=["one too few", "real", "not a number"],
    )
    def test_symbols_that_do_not_fit(self, small, tmp_path, symbols):
        np.save(tmp_path / "symbols.npy", symbols)
        with pytest.raises(CaptureError, match="symbols"):
            self.estimate(small, tmp_path, tmp_path / "symbols.npy")

    def test_at_the_command_line_it_is_one_line_and_exit_9(self, small, capsys):
        (small / "shot.npy").unlink()
        code = main(["import", "foreign-npy", str(small), str(small / "f.h5")])
        assert code == 9
        error = capsys.readouterr().err
        assert "shot.npy" in error
        assert "Traceback" not in error
        assert not (small / "f.h5").exists()


class Touch:
    """Makes a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")
