"""The life of a bundle: kept in a registry, signed, adapted, gated, promoted and rolled back."""
