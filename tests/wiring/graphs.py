GRAPHS = {}
