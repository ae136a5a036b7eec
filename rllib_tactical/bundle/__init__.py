"""Policy bundles: weights, manifest and settings in a folder that loads without Ray."""
