"""The online service, and the one definition of features and inference."""
