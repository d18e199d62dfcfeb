"""Stored values to HU: rescale, range and padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verict.ct.decode import PixelFormat
from verict.ct.hounsfield import Rescale, fits_int16, read_rescale, to_hu
from verict.ct.order import Frame
from verict.errors import PixelError

SLOPE, INTERCEPT, TYPE, LUT = 0x00281053, 0x00281052, 0x00281054, 0x00283000


def _shape(*, signed=True, padding=None, limit=None):
    return PixelFormat(16, 16, 16, 16, 15, signed, 1, padding, limit)


def _frame(slope=None, intercept=None):
    return Frame(0, 1, "a.dcm", "", None, None, None, None, None, None, slope, intercept)


def _convert(stored, rescale, shape, dtype=np.int16):
    out = np.zeros(stored.shape, dtype)
    return (*to_hu(stored, rescale, shape, out), out)


@given(st.integers(-32768, 32767), st.integers(0, 65535))
def test_integer_rescale_is_exact_or_refused(intercept, value):
    stored = np.full((16, 16), value, np.uint16)
    _, fitted, out = _convert(stored, Rescale(1.0, float(intercept)), _shape(signed=False))
    assert fitted == (-32768 <= value + intercept <= 32767)
    if fitted:
        assert (out == value + intercept).all()


def test_fractional_slope_gives_float():
    stored = np.arange(256, dtype=np.int16).reshape(16, 16)
    _, fitted, out = _convert(stored, Rescale(0.5, -1024.25), _shape(), np.float32)
    assert fitted
    assert np.allclose(out, stored * 0.5 - 1024.25)
    assert not _convert(stored, Rescale(0.5, 0.0), _shape())[1]


@pytest.mark.parametrize(
    ("slope", "intercept", "fits"),
    [(1.0, -1024.0, True), (None, None, True), (0.5, 0.0, False), (1.0, 0.5, False), (1.0, 1e5, False)],
)
def test_int16_is_chosen_only_for_integers(slope, intercept, fits):
    assert fits_int16(slope, intercept) is fits


def test_padding_becomes_air_and_is_counted():
    stored = np.full((16, 16), 40, np.int16)
    stored[:2] = -2000
    padded, fitted, out = _convert(stored, Rescale(1.0, 0.0), _shape(padding=-2000))
    assert (padded, fitted) == (32, True)
    assert (out[:2] == -1024).all()
    assert (out[2:] == 40).all()


def test_a_padding_range_covers_everything_between():
    stored = np.full((16, 16), 40, np.int16)
    stored[0], stored[1] = -3000, -2500
    padded, _, out = _convert(stored, Rescale(1.0, 0.0), _shape(padding=-2000, limit=-3000))
    assert padded == 32
    assert (out[:2] == -1024).all()


@pytest.mark.parametrize(("padding", "limit"), [(40, None), (-2000, 3500), (-800, -700)])
def test_a_padding_value_that_could_be_tissue_is_not_applied(padding, limit):
    stored = np.full((16, 16), 40, np.int16)
    padded, _, out = _convert(stored, Rescale(1.0, 0.0), _shape(padding=padding, limit=limit))
    assert padded == 0
    assert (out == 40).all()


def test_padding_outside_int16_does_not_force_floats():
    stored = np.full((16, 16), 1064, np.uint16)
    stored[0] = 65000
    padded, fitted, out = _convert(stored, Rescale(1.0, -1024.0), _shape(signed=False, padding=65000))
    assert (padded, fitted) == (16, True)
    assert (out[0] == -1024).all()
    assert (out[1:] == 40).all()


def test_padding_that_is_air_already_is_not_counted():
    stored = np.zeros((16, 16), np.uint16)
    assert _convert(stored, Rescale(1.0, -1024.0), _shape(signed=False, padding=0))[0] == 0


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        ({SLOPE: b"0"}, "RescaleSlope"),
        ({SLOPE: b"-1"}, "RescaleSlope"),
        ({SLOPE: b"nan"}, "RescaleSlope"),
        ({SLOPE: b"NaN "}, "RescaleSlope"),
        ({SLOPE: b"1e400"}, "RescaleSlope"),
        ({SLOPE: b"1e9"}, "RescaleSlope"),
        ({SLOPE: b"1\\2"}, "RescaleSlope"),
        ({INTERCEPT: b"inf"}, "RescaleIntercept"),
        ({INTERCEPT: b"1e30"}, "RescaleIntercept"),
        ({LUT: b""}, "ModalityLUTSequence"),
    ],
)
def test_unusable_rescale_is_named(values, tag):
    with pytest.raises(PixelError) as caught:
        read_rescale(values, _frame(), enhanced=False, file="a.dcm")
    assert tag in caught.value.tag


def test_missing_rescale_is_assumed_and_told():
    assert read_rescale({}, _frame(), enhanced=False, file="a") == Rescale(1.0, 0.0, assumed=True)
    given_both = {SLOPE: b"1 ", INTERCEPT: b"-1024", TYPE: b"US"}
    assert read_rescale(given_both, _frame(), enhanced=False, file="a") == Rescale(1.0, -1024.0, other_type=True)


def test_enhanced_frames_bring_their_own_rescale():
    assert read_rescale({SLOPE: b"7"}, _frame(2.0, 3.0), enhanced=True, file="a") == Rescale(2.0, 3.0)
    with pytest.raises(PixelError):
        read_rescale({}, _frame(float("nan"), 0.0), enhanced=True, file="a")
