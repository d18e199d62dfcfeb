"""What a pass through JPEG Extended (12 bits, process 4 of ISO/IEC 10918-1) leaves of a slice's pixels.

DICOM's lossy JPEG of CT is this one, transfer syntax 1.2.840.10008.1.2.4.51 (PS3.5 A.4.1); baseline JPEG holds 8 bits,
so that a CT must be cut to a window first and is no CT afterwards. No codec for it is among the libraries in use, and
none is needed: all that JPEG loses it loses where the cosine transform of 8 x 8 pixels is divided by a table and
rounded. The coding of the rounded numbers loses nothing; its size is taken from their entropy, as an ideal Huffman code
would have it. A test compares the pixels with those of DCMTK's codec.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

BLOCK_PX = 8
BITS = 12
HALF = 1 << BITS - 1  # taken off before the transform (10918-1 A.3.1)
LUMINANCE = np.array(  # quantisation table K.1 of 10918-1
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
TRIES = 12  # halvings in search of a table
SCALES = (0.01, 200.0)  # of the table, between which it is looked for


def scaled_table(scale: float) -> np.ndarray:
    """(8, 8) int64 quantisation steps: table K.1 times a factor, each at least 1."""
    return np.maximum(np.rint(LUMINANCE * scale), 1).astype(np.int64)


def pass_through(stored: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, float]:
    """One slice coded and decoded.

    Parameters
    ----------
    stored
        (y, x) whole numbers from 0 to 4095.
    table
        (8, 8) quantisation steps, by frequency along y and x.

    Returns
    -------
    decoded
        (y, x) int64, 0 to 4095.
    size
        Bytes of the codestream without its headers, at least.
    """
    height, width = stored.shape
    padded = np.pad(stored, ((0, -height % BLOCK_PX), (0, -width % BLOCK_PX)), mode="edge").astype(np.float64) - HALF
    rows, columns = padded.shape[0] // BLOCK_PX, padded.shape[1] // BLOCK_PX
    blocks = padded.reshape(rows, BLOCK_PX, columns, BLOCK_PX).transpose(0, 2, 1, 3)
    levels = np.rint(fft.dctn(blocks, axes=(2, 3), norm="ortho") / table).astype(np.int64)
    back = fft.idctn(levels * table.astype(np.float64), axes=(2, 3), norm="ortho")
    image = back.transpose(0, 2, 1, 3).reshape(padded.shape)[:height, :width]
    return np.clip(np.rint(image) + HALF, 0, (1 << BITS) - 1).astype(np.int64), coded_size(levels)


def coded_size(levels: np.ndarray) -> float:
    """Bytes that quantised (rows, columns, 8, 8) blocks take: entropy of the symbols of 10918-1 F.1.2, plus their bits.

    The first coefficient is coded as the difference from the block before; every other one that is not 0 as the pair of
    zeros before it, along the zigzag, and its magnitude's category.
    """
    line = levels.reshape(-1, BLOCK_PX * BLOCK_PX)[:, _ZIGZAG]
    steps = _category(np.diff(line[:, 0], prepend=0))
    block, at = np.nonzero(line[:, 1:])
    category = _category(line[:, 1:][block, at])
    is_first = np.diff(block, prepend=-1) != 0
    zeros = np.where(is_first, at, np.diff(at, prepend=0) - 1)
    long_runs = zeros // 16  # each is a symbol of its own
    symbols = np.concatenate([zeros % 16 * 16 + category, np.full(int(long_runs.sum()), 15 * 16)])
    ends = np.full(int((line[:, -1] == 0).sum()), 0)  # of blocks that end in zeros
    bits = _entropy_bits(steps) + steps.sum() + _entropy_bits(np.concatenate([symbols, ends])) + category.sum()
    return float(bits) / 8


def find_table(stored: np.ndarray, ratio: float) -> np.ndarray:
    """The (8, 8) table, in proportion to K.1, by which a slice comes nearest to 12 bits a pixel / ``ratio``."""
    low, high = np.log(SCALES)
    for _ in range(TRIES):
        middle = (low + high) / 2
        _, size = pass_through(stored, scaled_table(float(np.exp(middle))))
        if stored.size * BITS / 8 / max(size, 1) < ratio:
            low = middle
        else:
            high = middle
    return scaled_table(float(np.exp((low + high) / 2)))


def _category(values: np.ndarray) -> np.ndarray:
    """Bits that a magnitude takes: 0 for 0, 1 for 1, 2 for 2 and 3, and so on."""
    return np.ceil(np.log2(np.abs(values) + 1)).astype(np.int64)


def _entropy_bits(symbols: np.ndarray) -> float:
    if not len(symbols):
        return 0.0
    counts = np.bincount(symbols)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def _zigzag() -> np.ndarray:
    """(64,) flat index of each coefficient in the order of 10918-1 figure 5."""
    side = range(BLOCK_PX)
    index = [(y + x, x if (y + x) % 2 == 0 else y, y * BLOCK_PX + x) for y in side for x in side]
    return np.array([flat for *_, flat in sorted(index)])


_ZIGZAG = _zigzag()
