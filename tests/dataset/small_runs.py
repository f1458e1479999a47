"""Options of runs that take a second."""

FROZEN = {"method": "frozen", "n_clusters": 4, "progress": False, "compute_brain": False, "baselines": False}
LEARNED = {"method": "deepcluster", "n_clusters": 4, "image_size": 16, "batch_size": 32, "device": "cpu"}
LEARNED |= {"min_steps": 10, "progress": False, "compute_brain": False, "baselines": False}
