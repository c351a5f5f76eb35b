"""Features: declaration → parsing → ragged → encoders → matrix. numpy and the standard library only."""
