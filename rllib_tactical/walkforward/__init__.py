"""Walk-forward: train on each part of the history, trade the next one."""
