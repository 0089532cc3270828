"""Who feeds whom: ids of neurons ride the graph; what arrives where a weight contracts is its presynaptic neurons."""
