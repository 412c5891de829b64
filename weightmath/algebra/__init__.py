"""The lazy graph and what can be said of it without files: names, formulas, kinds, signatures."""
