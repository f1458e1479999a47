"""Labels of digits of which a share is wrong."""

import numpy as np

N = 900


def broken(classes, share, seed=0):
    """Labels of which a share is wrong, and which of them are."""
    draw = np.random.default_rng(seed)
    rows = draw.choice(len(classes), round(share * len(classes)), replace=False)
    labels = classes.copy()
    labels[rows] = (classes[rows] + draw.integers(1, 10, len(rows))) % 10
    return labels, np.isin(np.arange(len(classes)), rows)
