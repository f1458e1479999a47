"""The picture of units: tiles with the maximizing image and the images of highest activation."""

import numpy as np
import pytest

from fiftyone_deepcluster.analysis import montage


@pytest.mark.parametrize("side", [8, 28, 224])
def test_montage_contains_every_image(side):
    made = np.full((side, side, 1), 0.5, np.float32)
    made[0, 0], made[:, side // 2 :] = 0.0, 1.0
    top = np.stack([np.full((side, side, 3), 20 * number, np.uint8) for number in range(9)])
    tile = montage.tile(made, top)
    small = (tile.height - 4) // 3
    assert tile.getpixel((tile.height - 2, tile.height // 2)) == (255, 255, 255)
    assert tile.getpixel((0, 0)) == (0, 0, 0)
    for number in range(9):
        row, column = divmod(number, 3)
        x = tile.height + 6 + column * (small + 2) + small // 2
        assert tile.getpixel((x, row * (small + 2) + small // 2)) == (20 * number,) * 3
    sheet = montage.sheet([tile] * 6)
    assert sheet.width > 4 * tile.width
    assert 2 * tile.height < sheet.height < 3 * tile.height
