"""The queue that trains all embedded models, in rounds; `scripts/train_weights.py` is its command."""
