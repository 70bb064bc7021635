"""Which steps does long work take, and how long is each? Known without torch, so that a page can list them."""

STAGES = (
    ("thumbnails", "Making thumbnails", 0.05),
    ("validation", "Reading the validation samples", 0.1),
    ("objective", "Measuring the validation gradient", 0.07),
    ("sweep", "Scoring every training sample", 0.45),
    ("scores", "Weighing the evidence", 0.15),
    ("map", "Drawing the map of gradients", 0.15),
    ("check", "Checking that the numbers repeat", 0.03),
)
"""Name, title and share of the time of each stage, in order."""

TRAINING = ("train", "Training a small model", 0.5)
"""The stage before all others when a person has no model yet."""
RECORDING = (("train", "Training, and writing down every sample", 1.0),)
"""The same of a recorded training."""
