"""Training on more rows than memory holds: partitions on Dask, features on disk, stages that are not done twice."""
