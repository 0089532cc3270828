"""Pictures of neurons: by row, by column, by network, drawn by Graphviz from an analysis."""
