"""What holds for every free-space link: shares are shares, more is not less."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_backends.propagation.beam import Transmitter, diffraction_transmittance
from sim_backends.propagation.coupling import (
    mean_transmittance,
    offset_transmittance,
    weibull_form,
)
from sim_backends.propagation.elliptic import elliptic_transmittance
from sim_backends.propagation.extinction import ExponentialAtmosphere
from sim_backends.propagation.fading import WanderingSpot
from sim_backends.propagation.geometry import slant_range_m, zenith_of_range_rad
from sim_backends.propagation.turbulence import HV_57, fried_m, slant_path

LENGTH = st.floats(0.05, 5.0)
ANGLE = st.floats(0.0, math.pi / 2)
HEIGHT = st.floats(1e3, 4e7)


@settings(max_examples=60, deadline=None)
@given(LENGTH, LENGTH, LENGTH, st.floats(0.0, 5.0))
def test_shares_fall_with_the_offset_and_grow_with_the_aperture(a, w, s, r):
    share = offset_transmittance([r, 1.1 * r + 0.01], a, w)
    assert 0.0 <= share[1] <= share[0] <= 1.0
    assert share[0] <= offset_transmittance(r, 1.1 * a, w) + 1e-14
    form = weibull_form(a, w)
    assert abs(form.transmittance(r) - share[0]) < 0.1
    assert mean_transmittance(a, w, s) <= offset_transmittance(0.0, a, w) + 1e-15
    nodes = WanderingSpot(a, w, s, r).quadrature()
    assert abs(nodes.mean() - mean_transmittance(a, w, s, r)) < 1e-9
    assert nodes.mean(2.0) >= nodes.mean() ** 2 - 1e-12


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5, 5.0), LENGTH, st.floats(0.5, 5.0), st.floats(-3, 3))
def test_elliptic_shares_do_not_depend_on_how_axes_are_named(w1, a, w2, u):
    one = elliptic_transmittance(a, (w1, w2), (u, 0.3))
    other = elliptic_transmittance(a, (w2, w1), (-0.3, u))
    assert 0.0 <= one <= 1.0
    assert abs(one - other) < 1e-9


@settings(max_examples=60, deadline=None)
@given(HEIGHT, ANGLE)
def test_lines_lead_back_to_their_angle(height_m, zenith):
    z_m = float(slant_range_m(height_m, zenith))
    assert height_m <= z_m * (1 + 1e-12)
    assert z_m <= slant_range_m(height_m, math.pi / 2) * (1 + 1e-12)
    back = float(zenith_of_range_rad(z_m, height_m))
    # Near the zenith the cosine says little about the angle.
    assert abs(math.cos(back) - math.cos(zenith)) < 1e-8


@settings(max_examples=30, deadline=None)
@given(st.lists(ANGLE, min_size=1, max_size=4), HEIGHT)
def test_arrays_are_many_scalars(zenith, height_m):
    air = ExponentialAtmosphere()
    together = air.transmittance(zenith, height_m)
    path = slant_path(HV_57, zenith, height_m)
    for i, angle in enumerate(zenith):
        assert np.isclose(together[i], air.transmittance(angle, height_m), rtol=1e-13)
        alone = fried_m(slant_path(HV_57, angle, height_m), 8e-7)
        assert np.isclose(fried_m(path, 8e-7)[i], alone, rtol=1e-12)
    assert (together > 0.0).all()
    assert (together <= 1.0).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.floats(2e4, 2e6))
def test_a_cut_beam_never_brings_more_than_was_launched(waist_m, rim_m, z_m):
    source = Transmitter(waist_m, 8e-7, rim_m, truncation="source")
    launched = Transmitter(waist_m, 8e-7, rim_m, truncation="launched")
    share = diffraction_transmittance(source, [z_m, 2 * z_m], 0.5)
    assert (share <= source.launched * (1 + 1e-9)).all()
    assert (share >= 0.0).all()
    ratio = share / diffraction_transmittance(launched, [z_m, 2 * z_m], 0.5)
    assert np.allclose(ratio, source.launched, rtol=1e-12)
