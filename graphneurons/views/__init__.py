"""Pictures of neurons: by row, by column, by network, drawn by Graphviz from an analysis.

`graphneurons.views.viewing.render` is the entry; a view makes a `Canvas` (positions computed) or a `Network` (laid
out by the engine), which becomes DOT text in `dot`, and a picture in `rendering`.
"""
