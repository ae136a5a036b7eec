"""What runs leave on disk: atomic files, local and remote storage, run folders, versions."""
