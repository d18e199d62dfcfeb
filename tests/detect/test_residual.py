"""The median of a neighbourhood is that of the reference."""

from __future__ import annotations

import numpy as np
from detect.volumes import make_lung_hu
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from verict.detect.residual import median_3x3


@given(
    arrays.arrays(
        st.sampled_from([np.int16, np.float32]),
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
        elements=st.integers(-3024, 3071),
    )
)
def test_median_is_that_of_scipy(image):
    median = median_3x3(image)
    assert median.dtype == image.dtype
    np.testing.assert_array_equal(median, ndimage.median_filter(image, size=3, mode="nearest"))


def test_median_leaves_its_input_alone():
    image = make_lung_hu((40, 50))
    before = image.copy()
    median_3x3(image)
    np.testing.assert_array_equal(image, before)
