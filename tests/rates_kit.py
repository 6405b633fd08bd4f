"""Slow references of the rate engine, and the program with one thing broken."""

import types
from pathlib import Path

import mpmath
import numpy as np
from mpmath import mpf


def broken(module, old, new):
    """Return the module with one piece of text replaced, not compiled."""
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert old in text, f"{module.__name__} has no {old!r} to break"
    text = text.replace("@numba.njit(cache=True, nogil=True)", "").replace(old, new)
    copy = types.ModuleType(module.__name__ + "_broken")
    exec(compile(text, module.__file__, "exec"), copy.__dict__)
    return copy


def fossier(t, xi, v_a, eta, nu, heterodyne):
    """Holevo bound by purification: Fossier et al., J. Phys. B 42, 114014 (2009).

    `nu` per measured quadrature. In mpmath's precision: the formulas cancel.
    """
    t, xi, eta, nu = mpf(t), mpf(xi), mpf(eta), mpf(nu)
    v, line = mpf(v_a) + 1, 1 / t - 1 + xi
    a = v**2 * (1 - 2 * t) + 2 * t + t**2 * (v + line) ** 2
    b = t**2 * (v * line + 1) ** 2
    root = mpmath.sqrt(b)
    if heterodyne:
        detector = (1 + (1 - eta) + 2 * nu) / eta
        total = line + detector / t
        c = a * detector**2 + b + 1
        c += 2 * detector * (v * root + t * (v + line)) + 2 * t * (v**2 - 1)
        c /= (t * (v + total)) ** 2
        d = ((v + root * detector) / (t * (v + total))) ** 2
    else:
        detector = ((1 - eta) + nu) / eta
        total = line + detector / t
        c = (a * detector + v * root + t * (v + line)) / (t * (v + total))
        d = root * (v + root * detector) / (t * (v + total))
    return entropy_of_squares(a, b) - entropy_of_squares(c, d)


def entropy_of_squares(total, product):
    """Entropy of two modes whose squared eigenvalues have that sum and product."""
    root = mpmath.sqrt(max(mpf(0), total**2 - 4 * product))
    larger = (total + root) / 2
    return sum(entropy(mpmath.sqrt(z)) for z in (larger, product / larger))


def entropy(x):
    """Entropy of a thermal mode of symplectic eigenvalue `x`."""
    if x <= 1:
        return mpf(0)
    up, down = (x + 1) / 2, (x - 1) / 2
    return up * mpmath.log(up, 2) - down * mpmath.log(down, 2)


def cloner(point, heterodyne, direct):
    """Eve's information from her covariance matrices, as they are written down.

    ``point`` is T, W, V0, Vm, eta and the trusted noise of the whole light.
    """
    t, w, v0, v_m, eta, nu = map(mpf, point)
    v, q = v0 + v_m, 1 - t
    c = mpmath.sqrt(t * (w * w - 1))
    first = t * w + q * v
    x = mpmath.matrix([[first, c], [c, w]])
    p = mpmath.matrix([[first, -c], [-c, w]])
    before = _two_modes(x, p)
    if direct:
        x[0, 0] = t * w + q * v0
        if heterodyne:
            p[0, 0] = t * w + q * v0
        return before - _two_modes(x, p)
    seen = eta * (t * v + q * w) + 1 - eta + nu + (1 if heterodyne else 0)
    u = mpmath.matrix(
        [mpmath.sqrt(eta * t * q) * (w - v), mpmath.sqrt(eta * q * (w * w - 1))]
    )
    x = x - u * u.T / seen
    if heterodyne:
        u[1] = -u[1]
        p = p - u * u.T / seen
    return before - _two_modes(x, p)


def _two_modes(x, p):
    both = x * p
    total = both[0, 0] + both[1, 1]
    product = both[0, 0] * both[1, 1] - both[0, 1] * both[1, 0]
    return entropy_of_squares(total, product)


def spread(rng, low, high, count):
    """Draw evenly in the logarithm."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))
