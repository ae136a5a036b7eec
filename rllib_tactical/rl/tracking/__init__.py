"""Console, MLflow and HTML report of a training run."""
