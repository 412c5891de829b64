"""Results to look at: charts of results tables and of comparisons, as one HTML page, or as pictures for papers."""
