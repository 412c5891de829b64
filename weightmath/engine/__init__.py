"""From a graph and a layout to numbers: the plan, the programs, the one loop over chunks, and how much it takes."""
