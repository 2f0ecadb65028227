"""Makes a model: mined negatives, teachers' scores, losses, and the trainer."""
