"""Speed as ratios against peers, measured in one run on one machine. ``python -m bench``."""
