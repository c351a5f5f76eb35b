"""What keeps the service fast and alive: joined batches, admission, the cache of histories, the live bundle."""
