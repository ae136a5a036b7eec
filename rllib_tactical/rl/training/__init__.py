"""The training loop, validation, curriculum, stop criteria, warm start."""
