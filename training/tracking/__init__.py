"""What was trained, with what and how well, told to MLflow; nothing here is needed to train."""
